#!/bin/sh
# Makes a fresh database and serves it to whoever reaches it: the network is the boundary here.
set -e
bin=$(ls -d /usr/lib/postgresql/*/bin)
$bin/initdb -D /tmp/data --auth=trust --no-locale -E UTF8 >/tmp/initdb.log
echo 'host all all all trust' >>/tmp/data/pg_hba.conf
exec $bin/postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off
