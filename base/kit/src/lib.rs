//! Small tools without a subject of their own: expiring map, backoff, bounded queue.
