"""What the gateway reads and writes, without sockets: heads, bodies, streams, errors."""
