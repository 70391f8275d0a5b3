// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* One object, so that the programs share maps and settings. */
#include "from_clear.c"
#include "from_container.c"
#include "from_engine.c"
#include "from_tunnel.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
