package netstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"culvert/netstack/link"
	"culvert/proxy/network"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// ErrClosed is the cause with which flows end when the stack is closed.
var ErrClosed = errors.New("netstack closed")

// errDraining rejects connects that come while the stack drains or closes.
var errDraining = network.WithReason(network.ReasonOverflow, errors.New("netstack is draining"))

// Stack captures connections that arrive on a device. Run it, drain it, close
// it; its methods are safe from any goroutine.
type Stack struct {
	// immutable
	cfg       Config
	device    link.Device
	lookup    network.HandlerLookup
	flows     *network.FlowTable
	prober    Prober
	overload  Overload
	log       *slog.Logger
	link      *link.Endpoint
	stack     *stack.Stack
	forwarder *tcp.Forwarder
	gate      *gate
	icmpLimit *rate.Limiter
	ctx       context.Context // the stack's life; the flows' are below it
	cancel    context.CancelCauseFunc

	counters counters
	halfOpen chan struct{}  // a place for each application that is waited for
	serving  sync.WaitGroup // goroutines of flows
	runs     sync.WaitGroup // Run

	mu      sync.Mutex
	running bool      // guarded by mu
	closing sync.Once // teardown
}

// New makes a stack over d.Device. It captures nothing until Run.
func New(cfg Config, d Deps) (*Stack, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("netstack %q: %w", cfg.Name, err)
	}
	d = d.withDefaults()
	s := &Stack{
		cfg: cfg, device: d.Device, lookup: d.Lookup, flows: d.Flows, prober: d.Prober, overload: d.Overload,
		log: d.Log, link: link.New(d.Device), icmpLimit: newICMPLimiter(),
		halfOpen: make(chan struct{}, maxHalfOpen),
	}
	s.link.OnSYN(s.welcome)
	if s.stack, err = newStack(s.link); err != nil {
		return nil, fmt.Errorf("netstack %q: %w", cfg.Name, err)
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.gate = newGate(s)
	// The gate bounds what reaches the forwarder; its own bound drops SYNs that
	// were already answered for.
	s.forwarder = tcp.NewForwarder(s.stack, receiveBuffer, 2*cfg.MaxFlows+1, s.gate.completeHandshake)
	s.capture()
	return s, nil
}

// Run moves packets and serves flows until ctx ends or the device does. Before
// it returns every flow has ended and the stack is closed; the device is not.
// The error is the device's; the end of ctx is none. Run is called once.
func (s *Stack) Run(ctx context.Context) error {
	if !s.start() {
		return fmt.Errorf("netstack %q: %w", s.cfg.Name, ErrClosed)
	}
	defer s.runs.Done()
	stop := context.AfterFunc(ctx, func() { s.cancel(ErrClosed) })
	defer stop()

	var pump, watch sync.WaitGroup
	var failed error
	pump.Go(func() { failed = s.pump() }) // ends with the device, or Interrupt in teardown
	watch.Go(s.watch)                     // ends with s.ctx
	<-s.ctx.Done()
	s.endFlows()
	watch.Wait()
	s.device.Interrupt()
	pump.Wait()
	s.teardown()
	if failed != nil {
		return fmt.Errorf("netstack %q: %w", s.cfg.Name, failed)
	}
	return nil
}

// start notes that Run is running; false after Close or a first Run.
func (s *Stack) start() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.ctx.Err() != nil {
		return false
	}
	s.running = true
	s.runs.Add(1)
	return true
}

// pump ends the stack when the device fails.
func (s *Stack) pump() error {
	err := s.link.Pump()
	if err != nil {
		s.cancel(err)
	}
	return err
}

// watch looks after the gate once in a while.
func (s *Stack) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.gate.probePending()
			s.gate.sweep(now)
		case <-s.ctx.Done():
			return
		}
	}
}

// Drain stops capturing, new connects being told net unreachable, and waits
// until the flows have ended and what they had still to send is delivered, or
// until ctx ends, whose error it then returns. Packets go on moving.
func (s *Stack) Drain(ctx context.Context) error {
	s.gate.close()
	ended := make(chan struct{})
	go func() { // ends with the flows, which Close ends at the latest
		s.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	poll := time.NewTicker(10 * time.Millisecond) // nothing tells when an endpoint is done
	defer poll.Stop()
	for s.lingering() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// lingering reports whether a closed connection still has something to deliver.
func (s *Stack) lingering() bool {
	for _, te := range append(s.stack.RegisteredEndpoints(), s.stack.CleanupEndpoints()...) {
		ep, ok := te.(*tcp.Endpoint)
		if !ok {
			continue
		}
		switch ep.EndpointState() {
		case tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck, tcp.StateCloseWait, tcp.StateEstablished:
			return true
		}
	}
	return false
}

// Close ends every flow with ErrClosed, waits for their goroutines and Run, and
// takes the stack apart. The device stays open.
func (s *Stack) Close() {
	s.cancel(ErrClosed)
	s.runs.Wait()
	s.endFlows()
	s.teardown()
}

// endFlows waits for the flows, whose contexts have ended.
func (s *Stack) endFlows() {
	s.gate.close()
	s.serving.Wait()
}

func (s *Stack) teardown() {
	s.closing.Do(func() {
		s.gate.clear()
		s.stack.Destroy()
	})
}
