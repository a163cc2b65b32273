package neighbours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/peer"
)

const (
	// conversesWithin bounds one conversation, and failsWithin one that cannot
	// come to its end.
	conversesWithin = 2 * time.Minute
	failsWithin     = 2 * time.Second
	// mebibytes16 is what a direction carries, bytes.
	mebibytes16 = 16 << 20
)

// conversation is what the app and the origin do with a connection.
type conversation struct {
	name        string
	app, origin peer.Handler
}

// The conversations, by what must be true for them to work.
const (
	byTurns         = "16 MiB to the origin, then 16 MiB back"
	atOnce          = "16 MiB each way at once"
	appCloses       = "app closes after all"
	originCloses    = "origin closes after all"
	appEndsFirst    = "app ends first, 16 MiB come later"
	originEndsFirst = "origin ends first, 16 MiB come later"
	appResets       = "app resets"
	originResets    = "origin resets"
)

func conversations() []conversation {
	up, down := peer.Stream{Seed: 1, Size: mebibytes16}, peer.Stream{Seed: 2, Size: mebibytes16}
	small := peer.Stream{Seed: 3, Size: 1000}
	ask, answer := []step{sending(small), receiving(small)}, []step{receiving(small), sending(small)}
	return []conversation{
		{byTurns, thenClose(sending(up), receiving(down)), thenClose(receiving(up), sending(down))},
		{atOnce, thenClose(both(up, down)), thenClose(both(down, up))},
		{appCloses, thenClose(ask...), thenAwaitEnd(answer...)},
		{originCloses, thenAwaitEnd(ask...), thenClose(answer...)},
		{appEndsFirst, peer.SendFirst(small, down), peer.ReceiveFirst(small, down)},
		{originEndsFirst, peer.ReceiveFirst(small, up), peer.SendFirst(small, up)},
		{appResets, thenReset(ask...), thenAwaitReset(answer...)},
		{originResets, thenAwaitReset(ask...), thenReset(answer...)},
	}
}

// hold holds one conversation from the app, by way of address, to the origin, and
// returns what was wrong with it.
func (s *street) hold(t *testing.T, c conversation, address string, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	srv := peer.Serve(t, s.turn(), c.origin)
	defer srv.Close()
	conn, err := s.app.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Within(ctx, within, conn)()
	if err = c.app(ctx, conn); err != nil {
		err = fmt.Errorf("app: %w", err)
		ctx, cancel = context.WithTimeout(t.Context(), failsWithin)
		defer cancel()
	}
	if oerr := srv.Result(ctx); oerr != nil {
		err = errors.Join(err, fmt.Errorf("origin: %w", oerr))
	}
	return err
}

// turn is the origin's port for one conversation. A port that is closed may still
// be open in a program that is being started, and then not be had again.
func (s *street) turn() net.Listener {
	s.t.Helper()
	if s.port == nil {
		s.port = s.listen(originPort).(*net.TCPListener)
	}
	if err := s.port.SetDeadline(time.Time{}); err != nil {
		s.t.Fatal(err)
	}
	return turn{s.port}
}

// turn is a listener that is closed for its server only.
type turn struct{ *net.TCPListener }

// Close makes Accept return.
func (l turn) Close() error { return l.SetDeadline(time.Unix(1, 0)) }

// step is a part of a conversation, which ends no direction.
type step func(net.Conn) error

func sending(s peer.Stream) step {
	return func(c net.Conn) error {
		if n, err := io.Copy(c, s.Reader()); err != nil {
			return fmt.Errorf("send %v: after %d: %w", s, n, err)
		}
		return nil
	}
}

func receiving(s peer.Stream) step {
	return func(c net.Conn) error {
		v := s.Verify()
		if _, err := io.CopyN(v, c, s.Size); err != nil {
			return fmt.Errorf("receive %v: after %d: %w", s, v.Received(), err)
		}
		return nil
	}
}

func both(send, receive peer.Stream) step {
	return func(c net.Conn) error {
		sent := make(chan error, 1)
		go func() { // ends when the peer has taken everything, or c fails
			err := sending(send)(c)
			if err != nil {
				peer.Reset(c) // else the other direction might wait for ever
			}
			sent <- err
		}()
		err := receiving(receive)(c)
		if err != nil {
			peer.Reset(c)
		}
		return errors.Join(<-sent, err)
	}
}

// then does the steps and the last one; when one is wrong, it resets.
func then(last step, steps ...step) peer.Handler {
	return func(_ context.Context, c net.Conn) error {
		for _, do := range append(steps, last) {
			if err := do(c); err != nil {
				peer.Reset(c)
				return err
			}
		}
		return nil
	}
}

// thenClose closes, which is an end to whoever has read everything.
func thenClose(steps ...step) peer.Handler { return then(net.Conn.Close, steps...) }

// thenReset resets: nothing is under way that a reset could overtake.
func thenReset(steps ...step) peer.Handler {
	return then(func(c net.Conn) error { peer.Reset(c); return nil }, steps...)
}

// thenAwaitEnd reads to the end, which must come, and with nothing before it.
func thenAwaitEnd(steps ...step) peer.Handler {
	return then(func(c net.Conn) error {
		n, err := io.Copy(io.Discard, c)
		if n != 0 || err != nil {
			return fmt.Errorf("after all: %d bytes, then %w; want an end", n, err)
		}
		return c.Close()
	}, steps...)
}

// thenAwaitReset is content with a reset only.
func thenAwaitReset(steps ...step) peer.Handler {
	return then(func(c net.Conn) error {
		n, err := io.Copy(io.Discard, c)
		if n != 0 || !network.IsReset(err) {
			return fmt.Errorf("after all: %d bytes, then %v; want a reset", n, err)
		}
		return c.Close()
	}, steps...)
}
