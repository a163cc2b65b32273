package tundev_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/netstack/link"
	"culvert/netstack/netstacktest"
	"culvert/netstack/tundev"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	floodRate   = 90_000 // SYNs a second
	floodBurst  = 1000   // of them at once
	floodMemory = 64 << 20
	// floodGone is when all of a flood is forgotten but for its verdicts: whoever
	// does not finish a handshake is given 10 s.
	floodGone = 12 * time.Second
)

// Floods of SYNs through the real TUN, each from another place, to something that
// does not answer or to something that accepts: what they hold is bounded, a flow
// that was there keeps at least half its rate, and all are gone soon.
func TestLoadSYNFlood(t *testing.T) {
	need.Long(t)
	need.TUN(t)
	n := newNamespace(t)
	d := n.openTUN(t, tundev.Options{Name: "culvert0"})
	f := &flooded{unanswered: scale.For(500*time.Millisecond, 5*time.Second), accepts: scale.Full()}
	s := serve(t, d, f, nil)
	old := startBulk(t, n.echoing(t, kernel4))
	quiet := old.rate(scale.For(time.Second, 5*time.Second))
	goroutines, before := runtime.NumGoroutine(), resident(t)

	flood := startFlood(n.newInjector(t, d.Index(), true))
	peak := int64(0)
	noisy := old.rateWhile(scale.For(2*time.Second, time.Minute), func() { peak = max(peak, resident(t)-before) })
	sent, took := flood.stop()
	over := time.Now()
	st := s.Stats()
	scale.Figure(t, "%d SYNs in %v, %.0f/s; %d of them read, at most %d pending", sent, took.Round(time.Millisecond),
		float64(sent)/took.Seconds(), st.SynSeen, st.Pending)
	scale.Figure(t, "resident memory grew by %.1f MiB; the old flow: %.2f Gb/s before, %.2f meanwhile",
		float64(peak)/(1<<20), gigabits(quiet), gigabits(noisy))
	old.stop()
	program.Eventually(t, patience+floodGone, "the flood is gone", func() error {
		if flows, now := s.Stats().Flows, runtime.NumGoroutine(); flows > 0 || now > goroutines {
			return fmt.Errorf("%d flows, %d goroutines, %d before", flows, now, goroutines)
		}
		return nil
	})
	gone := time.Since(over)
	scale.Figure(t, "all of it was gone after %v", gone.Round(time.Millisecond))
	exchange(t, n.echoing(t, kernel6))
	if st.SynSeen == 0 {
		t.Errorf("that was no flood: %+v", st)
	}
	if !scale.Full() {
		return
	}
	if st.SynDroppedPendingLimit == 0 {
		t.Errorf("that was not much of a flood: %+v", st)
	}
	if peak > floodMemory {
		t.Errorf("the flood holds %d bytes, at most %d", peak, floodMemory)
	}
	if noisy < quiet/2 {
		t.Errorf("the old flow kept %.2f of its rate", noisy/quiet)
	}
	if gone > floodGone {
		t.Errorf("gone only after %v", gone)
	}
}

// flooded is the far end: it echoes, but for what floods come to.
type flooded struct {
	unanswered time.Duration // how long a connect to nowhere is tried
	accepts    bool          // every second connect is accepted
}

func (p *flooded) ServeFlow(ctx context.Context, f network.Flow) error {
	switch a := f.Info().LocalAddress; {
	case a.Port() == target(kernel4, hostAccepts).Port():
		return echo(ctx, f)
	case p.accepts && f.Info().RemoteAddress.Port()%2 == 0:
		_, err := f.Accept(ctx)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.unanswered)
	defer cancel()
	<-ctx.Done()
	f.Reject(context.DeadlineExceeded)
	return nil
}

// flood is SYNs on their way.
type flood struct {
	end  chan struct{}
	sent chan int
	at   time.Time
}

func startFlood(in *injector) *flood {
	f := &flood{end: make(chan struct{}), sent: make(chan int, 1), at: time.Now()}
	go f.run(in) // ends with stop
	return f
}

func (f *flood) run(in *injector) {
	src, dst := netip.MustParseAddrPort("198.51.100.1:1"), netip.MustParseAddrPort("203.0.113.77:443")
	b := netstacktest.SYN(src, dst, 1).Bytes()
	ip, tcp := header.IPv4(b), header.TCP(b[header.IPv4MinimumSize:])
	// The kernel finds the TCP checksum left to the device.
	h := link.Header{Flags: link.FlagNeedsChecksum, ChecksumStart: header.IPv4MinimumSize, ChecksumOffset: header.TCPChecksumOffset}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	n, last := 0, f.at
	for {
		select {
		case <-f.end:
			f.sent <- n
			return
		case <-tick.C:
		}
		now := time.Now()
		due := int(now.Sub(last).Seconds() * floodRate)
		last = now
		for range min(due, floodBurst) { // a machine that is late does not catch up
			n++
			binary.BigEndian.PutUint32(b[12:], 198<<24|18<<16|uint32(n>>4)&0xffff)
			ip.SetChecksum(0)
			ip.SetChecksum(^ip.CalculateChecksum())
			tcp.SetSourcePort(uint16(1 + n%65535))
			tcp.SetSequenceNumber(uint32(n) * 77)
			_ = in.send(h, b) // what the queue has no room for is lost, as on any wire
		}
	}
}

func (f *flood) stop() (sent int, took time.Duration) {
	close(f.end)
	sent = <-f.sent
	return sent, time.Since(f.at)
}

// resident is the memory of this process that is in RAM, bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func gigabits(bytesPerSecond float64) float64 { return 8 * bytesPerSecond / 1e9 }

// bulk is bytes without end through a connection that echoes them.
type bulk struct {
	t     *testing.T
	conn  net.Conn
	moved atomic.Int64
	ended sync.WaitGroup
}

func startBulk(t *testing.T, c net.Conn) *bulk {
	b := &bulk{t: t, conn: c}
	b.ended.Go(func() { // ends with the connection
		for block := make([]byte, 256<<10); ; {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	b.ended.Go(func() { // the same
		for block := make([]byte, 256<<10); ; {
			n, err := c.Read(block)
			if err != nil {
				return
			}
			b.moved.Add(int64(n))
		}
	})
	return b
}

// rate is how much comes back in a while, bytes a second.
func (b *bulk) rate(d time.Duration) float64 { return b.rateWhile(d, func() {}) }

// rateWhile does something meanwhile, ten times a second.
func (b *bulk) rateWhile(d time.Duration, look func()) float64 {
	before, began := b.moved.Load(), time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < d {
		<-tick.C
		look()
	}
	return float64(b.moved.Load()-before) / time.Since(began).Seconds()
}

// stop resets the connection, which must have lived so long.
func (b *bulk) stop() {
	b.t.Helper()
	before := b.moved.Load()
	program.Eventually(b.t, patience, "the old flow goes on", func() error {
		if b.moved.Load() == before {
			return errors.New("no byte came")
		}
		return nil
	})
	_ = b.conn.(*net.TCPConn).SetLinger(0)
	_ = b.conn.Close()
	b.ended.Wait()
}
