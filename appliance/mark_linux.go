package appliance

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// setMark sets SO_MARK, which takes CAP_NET_ADMIN.
func setMark(c syscall.RawConn, mark uint32) error {
	var serr error
	if err := c.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	}); err != nil {
		return err
	}
	if serr != nil {
		return fmt.Errorf("mark a socket so that it passes the TUN by: %w", serr)
	}
	return nil
}
