package netstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"culvert/netstack/link"
	"culvert/proxy/network"
)

// Defaults of Config.
const (
	DefaultMaxPendingConnects = 4096
	DefaultMaxFlows           = 50000
)

// Bounds and times that are not configured.
const (
	// silenceMemory is how long a silent verdict outlives the last SYN it
	// swallowed. Linux leaves up to 64 s between two (tcp_syn_retries 6), and a
	// forgotten verdict would dial again.
	silenceMemory = 75 * time.Second
	// maxSilent is how many silent verdicts are remembered at most, about 20 MiB,
	// the one whose SYN came longest ago forgotten first. An application that still
	// tries keeps its own; one that is forgotten costs a dial, where a SYN dropped
	// for want of a place would cost a connect: after a flood, each of them.
	maxSilent = 1 << 16
	// maxTold is how many other refusals are remembered, the oldest forgotten
	// first: forgetting one costs a dial, not the truth.
	maxTold = 1 << 13
	// watchEvery is how often pending applications are looked for and old
	// verdicts are forgotten.
	watchEvery = time.Second
	// stillThere is how long an application that was seen is taken to be there:
	// to ask is two system calls, a tenth of what a connect costs.
	stillThere = 100 * time.Millisecond
)

// Config is what a stack captures and how much of it at a time. Zero limits are
// the defaults.
type Config struct {
	// Name is the device's, for logs.
	Name string
	// Addresses are bound inside the stack: they answer echo requests. The
	// addresses of the interface on the kernel's side are not among them.
	Addresses []netip.Prefix
	// Bindings are the addresses inside the stack at which internal listeners
	// are found; they answer echo requests as well. What is sent to them goes to
	// their listeners, or is refused. May be nil.
	Bindings *Bindings
	// TCPListener names the internal listener that gets all other captured TCP
	// flows.
	TCPListener string
	// UDPListener must be empty: UDP is answered with ICMP port unreachable,
	// and a name here is refused.
	UDPListener string
	// MaxPendingConnects bounds the flows not yet answered; a SYN beyond it is
	// dropped, to be retransmitted.
	MaxPendingConnects int
	// MaxPendingPerSource is the same for each source address; 0: three quarters.
	MaxPendingPerSource int
	// MaxFlows bounds all flows; a SYN beyond it is told net unreachable.
	MaxFlows int
}

func (c Config) withDefaults() (Config, error) {
	if c.MaxPendingConnects == 0 {
		c.MaxPendingConnects = DefaultMaxPendingConnects
	}
	if c.MaxPendingPerSource == 0 {
		c.MaxPendingPerSource = max(1, c.MaxPendingConnects*3/4)
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = DefaultMaxFlows
	}
	switch {
	case c.MaxPendingConnects < 0, c.MaxPendingPerSource < 0, c.MaxFlows < 0:
		return c, errors.New("limits must not be negative")
	case c.MaxPendingConnects > maxSilent/2:
		return c, fmt.Errorf("max_pending_connects %d: at most %d", c.MaxPendingConnects, maxSilent/2)
	case c.UDPListener != "":
		return c, fmt.Errorf("udp_listener %q: UDP is not captured yet", c.UDPListener)
	}
	return c, nil
}

// Deps are what a stack works with.
type Deps struct {
	// Device brings the packets; nil: none comes. It is the caller's to close,
	// after the stack.
	Device link.Device
	// Lookup finds the handler of a listener by name, for each flow.
	Lookup network.HandlerLookup
	// Flows lists the flows; nil: a table of the stack's own.
	Flows *network.FlowTable
	// Prober tells whether a connecting application is still there; nil: it is
	// assumed to be.
	Prober Prober
	// Overload says what has to give way while memory is short; nil: nothing.
	Overload Overload
	// Log may be nil.
	Log *slog.Logger
}

// Overload is asked for each connect, from any goroutine, and does not wait but
// where it says so.
type Overload interface {
	// DropsConnections: the SYN is left unanswered. It will be repeated.
	DropsConnections() bool
	// RefusesConnections: connects are told net unreachable at once.
	RefusesConnections() bool
	// AwaitConnection returns when a connect may be opened; an error refuses it.
	// It is the one that may wait, on the flow's goroutine.
	AwaitConnection(ctx context.Context) error
	// Buffer is what a connection may buffer in each direction, bytes; 0: as much
	// as any.
	Buffer() int
}

// noOverload is where there is always memory.
type noOverload struct{}

func (noOverload) DropsConnections() bool   { return false }
func (noOverload) RefusesConnections() bool { return false }
func (noOverload) Buffer() int              { return 0 }

func (noOverload) AwaitConnection(context.Context) error { return nil }

func (d Deps) withDefaults() Deps {
	if d.Device == nil {
		d.Device = newNoDevice()
	}
	if d.Lookup == nil {
		d.Lookup = func(string) (network.Handler, bool) { return nil, false }
	}
	if d.Flows == nil {
		d.Flows = network.NewFlowTable()
	}
	if d.Overload == nil {
		d.Overload = noOverload{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d
}
