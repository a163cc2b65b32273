package overload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const mib = 1 << 20

// fakeMemory is as full as a test says.
type fakeMemory struct {
	usage
	garbage uint64 // of objects; what a collection finds
}

func (f *fakeMemory) look() usage { return f.usage }

func (f *fakeMemory) collect() {
	f.cycles++
	f.objects -= f.garbage
	f.live, f.garbage = f.objects, 0
}

// newManager watches a memory of which 100 MiB may be used.
func newManager(c Config) (*Manager, *fakeMemory) {
	m := New(Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable(), Log: slog.New(slog.DiscardHandler)})
	f := &fakeMemory{}
	m.memory = f
	m.Configure(c)
	return m, f
}

func (f *fakeMemory) use(n uint64) { f.live, f.objects, f.garbage = n, n, 0 }

// look is one round of Run.
func (m *Manager) lookNow() time.Duration { return m.round(m.config(), time.Now()) }

func TestActionsFollowPressure(t *testing.T) {
	m, memory := newManager(DefaultConfig(100 * mib))
	for _, c := range []struct {
		used            uint64
		buffer          int
		refuses, resets bool
	}{
		{used: 10, buffer: 100 * mib / flowsWorth},
		{used: 55, buffer: minBuffer},
		{used: 70, buffer: minBuffer, refuses: true},
		{used: 90, buffer: minBuffer, refuses: true, resets: true},
		{used: 10, buffer: 100 * mib / flowsWorth},
	} {
		memory.use(c.used * mib)
		m.lookNow()
		if got := m.Buffer(); got != c.buffer {
			t.Errorf("%d %% used: buffers of %d, want %d", c.used, got, c.buffer)
		}
		if m.RefusesConnections() != c.refuses || m.states[stopRequests].saturated() != c.refuses ||
			m.states[resetStreams].saturated() != c.resets || m.DropsConnections() {
			t.Errorf("%d %% used: %+v", c.used, m.states)
		}
		for name, await := range map[string]func(context.Context) error{"connection": m.AwaitConnection, "request": m.AwaitRequest} {
			if err := await(context.Background()); errors.Is(err, network.ErrOverload) != c.refuses {
				t.Errorf("%d %% used: a %s is told %v", c.used, name, err)
			}
		}
		if got := m.pressure.Value(); got != int64(c.used) {
			t.Errorf("pressure %d, want %d", got, c.used)
		}
	}
}

// Buffers of streams grow where there is room for the largest, while memory is not
// short.
func TestMayGrow(t *testing.T) {
	for _, c := range []struct {
		limit, used uint64 // MiB
		grows       bool
	}{{512, 10, true}, {512, 300, false}, {100, 10, false}, {0, 1 << 20, true}} {
		m, memory := newManager(DefaultConfig(c.limit * mib))
		memory.use(c.used * mib)
		m.lookNow()
		if m.MayGrow() != c.grows {
			t.Errorf("%d of %d MiB used: may grow: %v", c.used, c.limit, m.MayGrow())
		}
	}
}

// Without a limit nothing ever gives way, and nobody waits.
func TestWithoutALimit(t *testing.T) {
	m, memory := newManager(DefaultConfig(0))
	memory.use(1 << 40)
	m.lookNow()
	if err := m.AwaitConnection(context.Background()); err != nil || m.RefusesConnections() || m.DropsConnections() || m.Buffer() != 0 {
		t.Errorf("something gives way: %v", err)
	}
}

// What may be garbage is no pressure, and is collected to find out.
func TestGarbageIsNoPressure(t *testing.T) {
	m, memory := newManager(DefaultConfig(100 * mib))
	memory.usage = usage{live: 10 * mib, objects: 90 * mib}
	memory.garbage = 80 * mib
	m.lookNow()
	if memory.cycles != 1 || m.RefusesConnections() {
		t.Errorf("%d collections, refuses: %v", memory.cycles, m.RefusesConnections())
	}
}

// Newcomers get in no faster than there would be room for if each of them came to
// hold what it may.
func TestNewcomersWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, memory := newManager(DefaultConfig(100 * mib))
		memory.use(60 * mib)
		m.lookNow()
		room, bounded := m.places(m.config(), 60*mib)
		if !bounded || room <= 0 {
			t.Fatalf("room for %d, %v", room, bounded)
		}
		for range room {
			if err := m.AwaitConnection(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		let := make(chan error, 1)
		go func() { let <- m.AwaitConnection(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-let:
			t.Fatalf("one more was let in: %v", err)
		default:
		}
		memory.use(70 * mib)
		m.lookNow()
		if err := <-let; !errors.Is(err, network.ErrOverload) {
			t.Errorf("the one more was told %v", err)
		}
		memory.use(10 * mib)
		m.lookNow()
		if err := m.AwaitConnection(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Who waits goes when its flow does.
func TestWaitEndsWithItsContext(t *testing.T) {
	m, memory := newManager(DefaultConfig(100 * mib))
	memory.use(64 * mib)
	m.lookNow()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.EOF)
	var err error
	for err == nil {
		err = m.AwaitConnection(ctx)
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// A listener accepts nothing while connections are not to be accepted, and can be
// closed meanwhile.
func TestStopAcceptingConnections(t *testing.T) {
	var c Config
	c.maxHeap, c.refresh = 100*mib, time.Second
	c.triggers[stopConnections] = threshold(0.9)
	m, memory := newManager(c)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := m.Listener(inner)
	accepted := make(chan error)
	accept := func() {
		conn, err := ln.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}
	dial := func() {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	memory.use(95 * mib)
	m.lookNow()
	if !m.DropsConnections() {
		t.Fatal("connections are accepted")
	}
	go accept() // ends with its send
	dial()
	select {
	case err := <-accepted:
		t.Fatalf("accepted: %v", err)
	case <-time.After(50 * time.Millisecond): // that nothing happens takes a while
	}
	memory.use(10 * mib)
	m.lookNow()
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	memory.use(95 * mib)
	m.lookNow()
	go accept() // ends with its send
	dial()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting a closed listener: %v", err)
	}
}

// A connection that was accepted just as the listener was closed is not lost: of a
// socket that two configurations share, the other one would never see it.
func TestAcceptedIsServed(t *testing.T) {
	m, _ := newManager(Config{})
	for range 50 { // that it was lost took luck
		late := &lateListener{accepting: make(chan struct{}), closed: make(chan struct{})}
		ln := m.Listener(late)
		accepted := make(chan error)
		go func() { // ends with its send
			_, err := ln.Accept()
			accepted <- err
		}()
		<-late.accepting
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Fatalf("a connection is lost: %v", err)
		}
	}
}

// lateListener accepts one connection, as it is being closed.
type lateListener struct {
	net.Listener
	accepting, closed chan struct{}
}

func (l *lateListener) Accept() (net.Conn, error) {
	close(l.accepting)
	<-l.closed
	c, _ := net.Pipe()
	return c, nil
}

func (l *lateListener) Close() error {
	close(l.closed)
	return nil
}

// heavy is an end that says it holds something, and from which nothing comes.
type heavy struct {
	network.Conn
	held int
	over chan struct{}
	once sync.Once
	why  error // set before over is closed
}

func (h *heavy) Held() int                { return h.held }
func (h *heavy) Read([]byte) (int, error) { <-h.over; return 0, h.why }
func (h *heavy) Write([]byte) (int, error) {
	<-h.over
	return 0, h.why
}
func (h *heavy) Close() error { return nil }
func (h *heavy) Abort(why error) {
	h.once.Do(func() {
		h.why = why
		close(h.over)
	})
}

// Those who hold the most are reset, no more than are needed, and none again
// before it is seen what that has freed.
func TestResetHighMemoryStreams(t *testing.T) {
	m, memory := newManager(DefaultConfig(100 * mib))
	ends := make(chan network.RelayResult, 5)
	held := map[*network.StreamInfo]int{}
	for i := range 5 {
		info := network.NewStreamInfo(m.deps.Flows.NextID())
		m.deps.Flows.Add(info)
		down := &heavy{held: (i + 1) * mib, over: make(chan struct{})}
		up := &heavy{over: make(chan struct{})}
		held[info] = down.held
		go func() { // ends when the flow is reset
			res := network.Relay(context.Background(), down, up, network.RelayOptions{Meter: &info.Meter})
			m.deps.Flows.Remove(info)
			ends <- res
		}()
	}
	for end := time.Now().Add(time.Minute); len(m.holders(1)) < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the flows hold nothing")
		}
	}
	memory.use(87 * mib) // 7 MiB more than 80: 5 and 4 go
	m.lookNow()
	for range 2 {
		if res := <-ends; !errors.Is(res.Err, network.ErrOverload) {
			t.Errorf("ended with %v", res.Err)
		}
	}
	memory.cycles++ // not seen yet: one collection is not enough
	m.resetLargest(m.config(), memory.usage)
	if got := m.resets.Value(); got != 2 {
		t.Errorf("%d were reset, want 2", got)
	}
	for info := range held {
		info.Meter.Abort(net.ErrClosed)
	}
	for range 3 {
		<-ends
	}
}

// Run sets the runtime's limit, and lets everybody in once it has ended.
func TestRun(t *testing.T) {
	m, memory := newManager(DefaultConfig(100 * mib))
	memory.use(95 * mib)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }() // ends with ctx
	for end := time.Now().Add(time.Minute); !m.RefusesConnections(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("Run does not look")
		}
	}
	cancel()
	<-done
	if err := m.AwaitConnection(context.Background()); err != nil {
		t.Errorf("after Run: %v", err)
	}
}

func TestScaledTrigger(t *testing.T) {
	s := trigger{on: true, begins: 0.5, saturates: 0.9}
	for pressure, want := range map[float64]float64{0.4: 0, 0.5: 0, 0.7: 0.5, 0.9: 1, 1.2: 1} {
		if got := s.scale(pressure); got < want-0.001 || got > want+0.001 {
			t.Errorf("pressure %v: %v, want %v", pressure, got, want)
		}
	}
	a := newActionState(stats.NewStore().Scope("overload."), stopRequests)
	a.set(0.5)
	hits := 0
	for range 10000 {
		if a.hits() {
			hits++
		}
	}
	if hits < 4000 || hits > 6000 {
		t.Errorf("%d of 10000 at a half", hits)
	}
}

// The process itself can be looked at.
func TestHeap(t *testing.T) {
	h := newHeap()
	ballast := make([]byte, 32*mib)
	h.collect()
	with := h.look()
	runtime.KeepAlive(ballast)
	if with.known() < uint64(len(ballast)) || with.atMost() < with.known() || with.known() > 1<<40 {
		t.Errorf("%+v with %d", with, len(ballast))
	}
	h.collect()
	if without := h.look(); without.live+16*mib > with.live || without.cycles <= with.cycles {
		t.Errorf("%+v, with more %+v", without, with)
	}
}
