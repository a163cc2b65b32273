package network

// Ahead is a connection of which something was read: reads give ahead first,
// then err unless it is nil, else what follows. It owns c and ahead. Once
// nothing of ahead is left it is no longer in the way.
func Ahead(c Conn, ahead []byte, err error) Conn {
	if len(ahead) == 0 && err == nil {
		return c
	}
	return &peekedConn{Conn: c, ahead: ahead, err: err}
}
