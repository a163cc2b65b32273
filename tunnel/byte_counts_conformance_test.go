package tunnel_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// G14: the payload of each direction, and what carrying it cost: of the
// application's own connection nothing, of the tunnel its heads and its frames
// or chunks.
func TestG14ByteCounts(t *testing.T) {
	const said, answer = "hello", "hello, world"
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			if r.Respond(200, false) != nil {
				return
			}
			for got := 0; got < len(said); {
				b, err := r.Receive()
				if err != nil {
					return
				}
				got += len(b)
			}
			_ = r.Send([]byte(answer), false)
			_, _ = r.Receive() // the end
			_ = r.Send(nil, true)
		})
		c := tunneltest.Start(t, gw, tunneltest.Options{
			Format: "%BYTES_RECEIVED% %BYTES_SENT%" + byteCounts("DOWNSTREAM") + byteCounts("UPSTREAM") + "\n",
		})
		app := c.App()
		_, _ = io.WriteString(app, said)
		if _, err := io.ReadFull(app, make([]byte, len(answer))); err != nil {
			t.Fatal(err)
		}
		finish(t, app)

		var received, sent int
		var down, up [4]int // wire and header bytes, sent and received
		record := c.Records(1)
		if _, err := fmt.Sscan(record, &received, &sent, &down[0], &down[1], &down[2], &down[3], &up[0], &up[1], &up[2], &up[3]); err != nil {
			t.Fatalf("record %q: %v", record, err)
		}
		if received != 5 || sent != 12 || down != [4]int{12, 5, 0, 0} {
			t.Errorf("record %q: payload or downstream", record)
		}
		if up[2] == 0 || up[3] == 0 {
			t.Errorf("record %q: no head bytes", record)
		}
		toGateway, fromGateway := up[0]-up[2]-len(said), up[1]-up[3]-len(answer)
		if want := framing(m); toGateway != want || fromGateway != want {
			t.Errorf("record %q: framing of %d and %d bytes, want %d", record, toGateway, fromGateway, want)
		}
	})
}

// byteCounts are the operators of one side.
func byteCounts(side string) string {
	return strings.ReplaceAll(" %S_WIRE_BYTES_SENT% %S_WIRE_BYTES_RECEIVED% %S_HEADER_BYTES_SENT% %S_HEADER_BYTES_RECEIVED%", "%S", "%"+side)
}

// framing is what one write of some bytes and the end behind it take beside
// those bytes.
func framing(m tunnel.Mode) int {
	switch {
	case m.Raw():
		return 0
	case m.Proto == codec.HTTP2:
		return 2 * 9 // two DATA frames (RFC 9113 §4.1)
	}
	return len("5\r\n") + len("\r\n") + len("0\r\n\r\n")
}
