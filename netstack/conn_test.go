package netstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// pairOf makes an application's connection and the Conn that captured it, in
// the hands of the test until it ends.
func pairOf(t *testing.T, dst netip.AddrPort) (*netstacktest.Conn, network.Conn, *Stack) {
	t.Helper()
	near, far := netstacktest.NewPair()
	host := netstacktest.NewHost(t, near)
	conns := make(chan network.Conn, 1)
	release := make(chan struct{})
	s := start(t, far, network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		if again, err := f.Accept(ctx); again != c || err != nil {
			t.Errorf("second Accept: %v, %v", again, err)
		}
		conns <- c
		<-release
		return nil
	}), nil)
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	app, err := host.Dial(ctx, dst)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.Close() })
	return app, <-conns, s
}

func eachFamily(t *testing.T, fn func(t *testing.T, dst netip.AddrPort)) {
	for _, e := range families() {
		t.Run(e.name, func(t *testing.T) { fn(t, e.dst) })
	}
}

// noise is reproducible bytes.
func noise(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b) // never fails
	return b
}

const bulk = 6 << 20

func writeAll(w io.Writer, b []byte) <-chan error {
	done := make(chan error, 1)
	go func() { // ends with the write, which ends with the connection
		_, err := w.Write(b)
		done <- err
	}()
	return done
}

func mustEqual(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes that differ, want %d", len(got), len(want))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	eachFamily(t, func(t *testing.T, dst netip.AddrPort) {
		app, c, _ := pairOf(t, dst)
		if got := c.LocalAddr().String(); got != dst.String() {
			t.Errorf("local %s", got)
		}
		if got := c.RemoteAddr().String(); got != app.LocalAddr().String() {
			t.Errorf("remote %s", got)
		}
	})
}

// The application ends first; what it is sent afterwards still arrives.
func TestApplicationEndsFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T, dst netip.AddrPort) {
		app, c, _ := pairOf(t, dst)
		data := noise(bulk)
		sent := writeAll(app, data)
		got := make([]byte, len(data))
		_, err := io.ReadFull(c, got)
		must(t, err)
		must(t, <-sent)
		mustEqual(t, got, data)
		must(t, app.CloseWrite())
		for range 2 { // an end stays one
			if n, err := c.Read(got); n != 0 || err != io.EOF {
				t.Fatalf("Read after FIN: %d, %v", n, err)
			}
		}
		sent = writeAll(c, data)
		_, err = io.ReadFull(app, got)
		must(t, err)
		must(t, <-sent)
		mustEqual(t, got, data)
		must(t, c.CloseWrite())
		if n, err := app.Read(got); n != 0 || err != io.EOF {
			t.Fatalf("application's Read after FIN: %d, %v", n, err)
		}
		must(t, c.Close())
		if _, err := c.Read(got); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	})
}

// Our side ends first; the application may go on sending. Chunks both ways.
func TestFarEndEndsFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T, dst netip.AddrPort) {
		app, c, _ := pairOf(t, dst)
		data := noise(bulk)
		wrote := make(chan error, 1)
		go func() { wrote <- writeChunks(c.(network.ChunkWriter), data) }() // ends with the data
		got := make([]byte, len(data))
		_, err := io.ReadFull(app, got)
		must(t, err)
		must(t, <-wrote)
		mustEqual(t, got, data)
		must(t, c.CloseWrite())
		if _, err := app.Read(got); err != io.EOF {
			t.Fatalf("application's Read after FIN: %v", err)
		}
		if _, err := c.Write([]byte("late")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		sent := writeAll(app, data)
		back, err := readChunks(c.(network.ChunkReader), len(data))
		must(t, err)
		must(t, <-sent)
		mustEqual(t, back, data)
		must(t, app.CloseWrite())
		if chunk, err := c.(network.ChunkReader).ReadChunk(); chunk != nil || err != io.EOF {
			t.Fatalf("ReadChunk after FIN: %v, %v", chunk, err)
		}
		eventually(t, "the FIN to be acknowledged", func() bool { return c.(network.SendQueue).Unsent() == 0 })
		must(t, c.Close())
	})
}

func writeChunks(w network.ChunkWriter, b []byte) error {
	for len(b) > 0 {
		c := network.NewChunk(network.ChunkLarge)
		n := copy(c.Space(), b)
		c.Data, b = c.Space()[:n], b[n:]
		if err := w.WriteChunk(c); err != nil {
			return err
		}
	}
	return nil
}

func readChunks(r network.ChunkReader, n int) ([]byte, error) {
	var out []byte
	for len(out) < n {
		c, err := r.ReadChunk()
		if err != nil {
			return out, err
		}
		if len(c.Data) == 0 {
			return out, errors.New("an empty chunk")
		}
		out = append(out, c.Data...)
		c.Release()
	}
	return out, nil
}

// The application resets: all it sent before is read first, then the reset.
func TestApplicationResets(t *testing.T) {
	for name, read := range map[string]func(c network.Conn, n int) ([]byte, error){
		"bytes": func(c network.Conn, n int) ([]byte, error) {
			b := make([]byte, n)
			_, err := io.ReadFull(c, b)
			return b, err
		},
		"chunks": func(c network.Conn, n int) ([]byte, error) { return readChunks(c.(network.ChunkReader), n) },
	} {
		t.Run(name, func(t *testing.T) {
			app, c, s := pairOf(t, families()[0].dst)
			data := noise(1 << 20)
			must(t, <-writeAll(app, data))
			eventually(t, "the data to arrive", func() bool { return s.Stats().Link.RxBytes > uint64(len(data)) })
			app.Abort()
			var failed error
			eventually(t, "the reset to arrive", func() bool {
				_, failed = c.Write([]byte("x")) // the writer hears of it first
				return failed != nil
			})
			if !network.IsReset(failed) {
				t.Errorf("Write: %v", failed)
			}
			got, err := read(c, len(data))
			must(t, err)
			mustEqual(t, got, data)
			for range 2 {
				if _, err := c.Read(got); !isRemoteReset(err) {
					t.Errorf("Read: %v", err)
				}
			}
			if n := c.(network.SendQueue).Unsent(); n != 0 {
				t.Errorf("Unsent %d", n)
			}
			must(t, c.CloseWrite())
		})
	}
}

func isRemoteReset(err error) bool {
	var r *network.ResetError
	return errors.As(err, &r) && r.Remote
}

// After its FIN the application can still reset: a blocked writer hears of it.
func TestApplicationResetsAfterItsEnd(t *testing.T) {
	app, c, _ := pairOf(t, families()[0].dst)
	must(t, app.CloseWrite())
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("Read: %v", err)
	}
	blocked := writeAll(c, make([]byte, 64<<20)) // more than any window
	app.Abort()
	if err := <-blocked; !isRemoteReset(err) {
		t.Errorf("Write: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end that was read is no longer one: %v", err)
	}
}

// Our side resets after the application has everything, which Unsent tells.
func TestFarEndResets(t *testing.T) {
	app, c, _ := pairOf(t, families()[0].dst)
	data := noise(bulk)
	q := c.(network.SendQueue)
	if n := q.Unsent(); n != 0 {
		t.Errorf("Unsent before anything was sent: %d", n)
	}
	wrote := writeAll(c, data)
	got := make([]byte, len(data))
	eventually(t, "unacknowledged bytes", func() bool { return q.Unsent() > 0 })
	read := make(chan error, 1)
	go func() { // ends with the data
		_, err := io.ReadFull(app, got)
		read <- err
	}()
	must(t, <-wrote)
	eventually(t, "everything to be acknowledged", func() bool { return q.Unsent() == 0 })
	cause := errors.New("upstream was reset")
	c.Abort(cause)
	must(t, <-read)
	mustEqual(t, got, data)
	if _, err := app.Read(got); err == nil || err == io.EOF {
		t.Errorf("the application reads %v after a reset", err)
	}
	if _, err := c.Read(got); !errors.Is(err, cause) {
		t.Errorf("Read after Abort: %v", err)
	}
	if _, err := c.Write(got); !errors.Is(err, cause) {
		t.Errorf("Write after Abort: %v", err)
	}
	c.Abort(errors.New("again"))
	must(t, c.Close())
}

// Close before both directions have ended is a reset.
func TestCloseTooEarly(t *testing.T) {
	app, c, _ := pairOf(t, families()[0].dst)
	must(t, c.CloseWrite())
	if _, err := app.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("Read: %v", err)
	}
	must(t, c.Close())
	eventually(t, "the application to notice", func() bool {
		_, err := app.Write([]byte("x"))
		return err != nil
	})
}

func TestBlockedCallsEnd(t *testing.T) {
	for name, call := range map[string]func(network.Conn) error{
		"Read":      func(c network.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"ReadChunk": func(c network.Conn) error { _, err := c.(network.ChunkReader).ReadChunk(); return err },
		"Write":     func(c network.Conn) error { _, err := c.Write(make([]byte, 64<<20)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			_, c, _ := pairOf(t, families()[0].dst)
			must(t, c.SetDeadline(time.Now().Add(20*time.Millisecond)))
			if err := call(c); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("deadline: %v", err)
			}
			if err := call(c); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("deadline is over and forgotten: %v", err)
			}
			must(t, c.SetDeadline(time.Time{}))
			ended := make(chan error, 1)
			go func() { ended <- call(c) }() // ends with Abort
			select {
			case err := <-ended:
				t.Fatalf("did not wait: %v", err)
			case <-time.After(30 * time.Millisecond):
			}
			c.Abort(syscall.ECONNRESET)
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Abort: %v", err)
			}
		})
	}
}

// What the application is told, in its own terms, through a stack of its own.
func TestDial(t *testing.T) {
	near, far := netstacktest.NewPair()
	host := netstacktest.NewHost(t, near)
	start(t, far, network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
		return nil
	}), nil)
	eachFamily(t, func(t *testing.T, dst netip.AddrPort) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := host.Dial(ctx, dst); !netstacktest.IsRefused(err) {
			t.Errorf("dial: %v", err)
		}
	})
}

// An Accept that is canceled while the application does not finish the
// handshake returns at once and leaves nothing.
func TestAcceptIsCanceled(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	a := r.arrive()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	a.next <- func(f network.Flow) error {
		_, err := f.Accept(ctx)
		if !errors.Is(err, stop) {
			t.Errorf("Accept: %v", err)
		}
		if _, again := f.Accept(ctx); again == nil || again.Error() != err.Error() {
			t.Errorf("second Accept: %v", again)
		}
		return err
	}
	r.wire.Next() // SYN-ACK
	cancel(stop)
	await(t, a.over, "Accept")
	if st := r.stack.Stats(); st.HandshakesFailed != 1 || st.Accepted != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Drain waits for flows and for what they have still to deliver.
func TestDrain(t *testing.T) {
	near, far := netstacktest.NewPair()
	host := netstacktest.NewHost(t, near)
	data := noise(8 << 20)
	s := start(t, far, network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		if _, err := io.ReadAll(c); err != nil {
			return err
		}
		_, err = c.Write(data[:1<<19]) // fits the send buffer: the flow ends first
		return errors.Join(err, c.CloseWrite(), c.Close())
	}), nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	app, err := host.Dial(ctx, families()[0].dst)
	must(t, err)
	defer app.Close()
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if err := s.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Drain with a flow open: %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx) }() // ends with the flow
	must(t, app.CloseWrite())
	got, err := io.ReadAll(app)
	must(t, err)
	mustEqual(t, got, data[:1<<19])
	must(t, <-drained)
}

// A port that is used again while its last connection is in TIME_WAIT here.
func TestPortIsUsedAgain(t *testing.T) {
	r := newRig(t, nil)
	for _, e := range families() {
		for round := range uint32(3) {
			seq := isn + round*100000
			r.send(netstacktest.SYN(e.src, e.dst, seq))
			a := r.arrive()
			a.next <- func(f network.Flow) error {
				c, err := f.Accept(f.Context())
				if err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					return err
				}
				return c.Close()
			}
			ack := netstacktest.Segment{Src: e.src, Dst: e.dst, Seq: seq + 1, Flags: header.TCPFlagAck}
			ack.Ack = r.nextOf(e, header.TCPFlagSyn|header.TCPFlagAck).Seq + 1
			r.send(ack)
			fin := r.nextOf(e, header.TCPFlagFin|header.TCPFlagAck)
			ack.Ack, ack.Flags = fin.Seq+1, header.TCPFlagFin|header.TCPFlagAck
			r.send(ack)
			if p := r.nextOf(e, header.TCPFlagAck); p.Ack != seq+2 {
				t.Fatalf("last acknowledgement %+v", p)
			}
			await(t, a.over, "the handler")
		}
	}
}

// nextOf waits for a packet of a connection with these flags.
func (r *rig) nextOf(e ends, flags header.TCPFlags) netstacktest.Packet {
	r.t.Helper()
	for {
		p := r.wire.Next()
		if p.Src == e.dst && p.Dst == e.src && p.Flags&^header.TCPFlagPsh == flags {
			return p
		}
	}
}

func TestKeepalive(t *testing.T) {
	_, c, _ := pairOf(t, families()[0].dst)
	ep := c.(*conn).ep
	var idle tcpip.KeepaliveIdleOption
	var interval tcpip.KeepaliveIntervalOption
	if err := ep.GetSockOpt(&idle); err != nil {
		t.Fatal(err)
	}
	if err := ep.GetSockOpt(&interval); err != nil {
		t.Fatal(err)
	}
	count, err := ep.GetSockOptInt(tcpip.KeepaliveCountOption)
	if err != nil {
		t.Fatal(err)
	}
	if !ep.SocketOptions().GetKeepAlive() || time.Duration(idle) != keepaliveIdle || time.Duration(interval) != keepaliveInterval || count != keepaliveCount {
		t.Errorf("keepalive %v, %v, %v, %d", ep.SocketOptions().GetKeepAlive(), idle, interval, count)
	}
	if ep.SocketOptions().GetDelayOption() {
		t.Error("small writes are delayed")
	}
}
