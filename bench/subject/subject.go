package subject

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"culvert/appliance/host"
	"culvert/bench/load"
	"culvert/bench/process"
	"culvert/bench/world"
)

// Subject is one thing to measure.
type Subject struct {
	// Name is how reports speak of it, and how it is chosen.
	Name string
	// Group puts those together that are compared.
	Group Group
	// Missing says why it cannot be measured on this machine, nil: it can.
	Missing error
	// Idle is how it is measured with open flows that do nothing; zero: not.
	Idle Idle
	// Busy subjects are measured with BusyStreams, too.
	Busy bool

	start func(*scene) (Way, error)
}

// All is whatever is measured.
func All(c Commands) []Subject {
	return slices.Concat(Baselines(), Culvert(), Capturing(c), Proxying(c), Far(c), Requesting(c))
}

// Idle is a number of flows, and how many descriptors one takes at most in one
// of the subject's processes.
type Idle struct{ Flows, Descriptors int }

// Within is how many flows there are where a process may have so many
// descriptors.
func (i Idle) Within(descriptors int) int {
	if i.Descriptors == 0 {
		return 0
	}
	return min(i.Flows, (descriptors-spareDescriptors)/i.Descriptors)
}

const (
	// spareDescriptors of a process are for everything but flows.
	spareDescriptors = 2000
	// BusyStreams is more than an ordinary user has pipes of the usual size for.
	BusyStreams = 200
)

// Carries reports whether the subject is measured under a load.
func (s Subject) Carries(l load.Load) bool {
	switch {
	case (s.Group == Requests) != (l.Kind == load.Requests):
		return false
	case s.Group == Impaired:
		return l.Streams == 8 && (l.Kind == load.Down || l.Kind == load.Up)
	case l.Kind == load.Idle:
		return s.Idle.Flows > 0
	case l.Streams == BusyStreams:
		return s.Busy
	}
	return true
}

// Stretch is how many times as long as others the subject is measured: over a
// long way streams need a while to find their rate.
func (s Subject) Stretch() int {
	if s.Group == Impaired {
		return 4
	}
	return 1
}

// Group is a kind of subject.
type Group string

// Groups, in the order of reports.
const (
	Capture Group = "capture" // packets of a program, out as connections
	Tunnel  Group = "tunnel"  // connections through a pair of proxies
	Whole   Group = "whole"   // packets of a program, through a tunnel, out at a gateway
	Relay   Group = "relay"   // connections through one proxy

	Requests Group = "requests" // requests in HTTP, not connections
	Impaired Group = "impaired" // over a link that is slow and loses packets
)

// Way is how applications reach the origin through a subject.
type Way struct {
	// Namespace applications are in.
	Namespace *host.Namespace
	// Device their sockets are bound to, which takes what they send past the
	// routes; empty: what the routes say.
	Device string
	// Address they connect to.
	Address string
	// Connect is what they then ask a proxy for, in HTTP/1.1; empty: they are
	// there.
	Connect string
}

// Running is a subject that runs.
type Running struct {
	Way
	Processes []*process.Process
	dir       string
	undo      []func() error
}

// Start starts the subject's processes. They may need a moment.
func (s Subject) Start(ctx context.Context, w *world.World, c Commands) (*Running, error) {
	if s.Missing != nil {
		return nil, s.Missing
	}
	dir, err := os.MkdirTemp(w.Dir, "subject-")
	if err != nil {
		return nil, err
	}
	sc := &scene{World: w, Commands: c, ctx: ctx, running: &Running{dir: dir}}
	way, err := s.start(sc)
	sc.running.Way = way
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, errors.Join(err, sc.running.Stop()))
	}
	return sc.running, nil
}

// Stop ends the processes, last first.
func (r *Running) Stop() error {
	var errs []error
	for i := len(r.Processes) - 1; i >= 0; i-- {
		errs = append(errs, r.Processes[i].Stop())
	}
	for _, undo := range r.undo {
		errs = append(errs, undo())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// Commands are programs by name: "culvert", "bench" and those of peers.
type Commands map[string]string

// scene is where a subject is being set up.
type scene struct {
	*world.World
	Commands
	ctx     context.Context
	running *Running
	user    uint32 // whom culvert runs as; 0: root
}

// run starts a program of the subject.
func (s *scene) run(ns *host.Namespace, name string, args ...string) error {
	args[0] = s.path(args[0])
	return s.started(process.Start(ns, name, args...))
}

func (s *scene) started(p *process.Process, err error) error {
	if err == nil {
		s.running.Processes = append(s.running.Processes, p)
	}
	return err
}

// path is where a program is.
func (s *scene) path(command string) string {
	if path, ok := s.Commands[command]; ok {
		return path
	}
	return command
}

// await waits until somebody listens.
func (s *scene) await(ns *host.Namespace, address string, port int) error {
	ctx, cancel := context.WithTimeout(s.ctx, startsWithin)
	defer cancel()
	for {
		c, err := ns.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", address, port))
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a listener: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// write writes a file of the subject, filled by the world and with, and returns
// its path.
func (s *scene) write(name, text string, with any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(strings.TrimLeft(text, "\n"))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, with); err != nil {
		return "", err
	}
	path := filepath.Join(s.running.dir, name)
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// origin is the origin's address for who is at that of its addresses.
func origin(address string) string { return fmt.Sprintf("%s:%d", address, world.OriginPort) }
