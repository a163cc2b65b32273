package endings

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/test/impair"
	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"
)

// seed is that of the flows and of the link.
const seed = 20

// badLink is a path over a continent with a bad last mile.
var badLink = impair.Link{
	Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Seed: seed,
	Loss: 0.01, Reorder: 0.01, Duplicate: 0.005, Corrupt: 0.002,
}

// breather is what an application takes after a connect that failed; else most
// flows would be such.
const breather = 100 * time.Millisecond

// Every ending, in every mode, many at once, over a bad link, and the gateway
// killed under them: no wrong byte, no flow that does not end, no clean end that
// was none, and nothing left behind.
func TestLoadEndings(t *testing.T) {
	need.Long(t)
	atOnce, restarts := scale.Of(40, 200), scale.Of(1, 20)
	between := scale.For(2*time.Second, 3*time.Second)
	w := newWorld(t, badLink, connectTimeout)
	o := newOrigin(t, seed, w.unrest, w.listen()...)
	gateway := w.startGateway()

	// One of each, so that pools and tables are there; then what near holds with
	// nothing under way and no gateway.
	l := newLoad(w, atOnce)
	l.runEach()
	w.killGateway(gateway)
	before := rest(t, w.culvert)

	gateway = w.startGateway()
	l.begin()
	for range restarts {
		time.Sleep(between) // the flows' time
		w.killGateway(gateway)
		gateway = w.startGateway()
	}
	time.Sleep(between)
	flows := l.end()
	program.Eventually(t, limit, "the origin's flows are over", func() error {
		if n := o.busy(); n > 0 {
			return fmt.Errorf("%d are not", n)
		}
		return nil
	})
	w.killGateway(gateway)
	account(t, w, o, flows)
	scale.Figure(t, "the gateway was killed %d times under %d flows at once", restarts, atOnce)
	fromNear, fromGateway := w.link.Stats()
	scale.Figure(t, "the link: %+v, %+v", fromNear, fromGateway)

	var after held
	program.Eventually(t, settles, "near holds what it held before", func() error {
		after = look(t, w.culvert)
		if !after.within(before) {
			return fmt.Errorf("%v, before %v", after, before)
		}
		return nil
	})
	scale.Figure(t, "near held %v before, %v after", before, after)
}

// load runs flows, so many at once.
type load struct {
	w      *world
	atOnce int
	next   atomic.Uint64
	stop   atomic.Bool
	wg     sync.WaitGroup

	mu    sync.Mutex
	flows []*flow
}

func newLoad(w *world, atOnce int) *load { return &load{w: w, atOnce: atOnce} }

func (l *load) one() {
	f := l.w.run(l.w.t.Context(), planOf(seed, l.next.Add(1)-1))
	if f.app == nil {
		time.Sleep(breather)
	}
	l.mu.Lock()
	l.flows = append(l.flows, f)
	l.mu.Unlock()
}

// runEach runs a flow of each mode and ending, and waits.
func (l *load) runEach() {
	var each sync.WaitGroup
	for range len(l.w.settings.Ways) * int(kinds) {
		each.Go(l.one) // ends with the flow
	}
	each.Wait()
}

func (l *load) begin() {
	for range l.atOnce {
		l.wg.Go(func() { // ends when end is called, and its flow is over
			for !l.stop.Load() {
				l.one()
			}
		})
	}
}

// end begins no more flows and waits for those that there are.
func (l *load) end() []*flow {
	l.stop.Store(true)
	l.wg.Wait()
	return l.flows
}

// account judges the flows and prints what there was.
func account(t *testing.T, w *world, o *origin, flows []*flow) {
	t.Helper()
	sum := summary{byKind: map[kind][2]int{}}
	for _, f := range flows {
		var complaints []string
		if c := f.join(o); c != "" {
			complaints = append(complaints, c)
		}
		complaints = append(complaints, f.judge()...)
		if len(complaints) > 0 {
			t.Errorf("%v, calm %v: %s\n\tapplication %s: %v\n\torigin: %v\n\tlog: %s", f, f.calm(), strings.Join(complaints, "; "),
				f.local, f.app, f.origin, w.logged(f))
		}
		sum.add(f)
	}
	sum.print(t)
}

// summary is what there was.
type summary struct {
	flows, calm, complete, indistinct, unreached int
	bytes                                        int64
	slowest, lastUnreached                       time.Duration
	byKind                                       map[kind][2]int // all, complete
}

func (s *summary) add(f *flow) {
	n := s.byKind[f.kind]
	n[0]++
	s.flows++
	if f.complete() {
		n[1]++
		s.complete++
	}
	s.byKind[f.kind] = n
	for _, e := range []*seen{f.app, f.origin} {
		if e != nil {
			s.bytes += e.read
		}
	}
	if f.calm() {
		s.calm++
	}
	if f.app != nil && f.app.clean() && !f.truthful(f.app, f.origin) {
		s.indistinct++
	}
	if f.unreached() {
		s.unreached++
		s.lastUnreached = max(s.lastUnreached, f.age)
	}
	s.slowest = max(s.slowest, f.took)
}

func (s *summary) print(t *testing.T) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(s.byKind)) {
		scale.Figure(t, "%v: %d flows, %d complete", k, s.byKind[k][0], s.byKind[k][1])
	}
	scale.Figure(t, "%d flows, %d of them undisturbed, %d complete; %.1f MB verified; %d ends of a dead gateway in the clear; the slowest flow took %v",
		s.flows, s.calm, s.complete, float64(s.bytes)/1e6, s.indistinct, s.slowest.Round(time.Millisecond))
	scale.Figure(t, "%d flows shared the fate of attempts from before the gateway was back, the last of them %v after",
		s.unreached, s.lastUnreached.Round(time.Millisecond))
	if s.complete == 0 || s.calm == 0 || s.calm == s.flows {
		t.Errorf("of %d flows %d were undisturbed, %d complete: nothing is shown", s.flows, s.calm, s.complete)
	}
}

// logged is near's record of a flow.
func (w *world) logged(f *flow) string {
	text, err := os.ReadFile(filepath.Join(w.dir, "near.log"))
	if err != nil {
		return err.Error()
	}
	began := f.began.UTC().Format("2006-01-02T15:04:05.000Z") // records begin so; ports are used again
	for line := range strings.Lines(string(text)) {
		if f.local != "" && line >= began && strings.Contains(line, " "+f.local+" ") {
			return strings.TrimSpace(line)
		}
	}
	return "nothing"
}
