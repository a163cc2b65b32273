package network

import (
	"sync"
	"time"
)

// Snapshot is a copy of a StreamInfo's plain values at the last Publish, for
// readers outside the flow's goroutine. Bytes are read live from the Meter.
type Snapshot struct {
	ID, ConnectionID, ParentID  uint64
	Kind                        Kind
	AcceptedEarly               bool
	Flags                       Flag
	Start                       time.Time
	RemoteAddress, LocalAddress Address
	Destination                 string // StateDestination, else empty
	Listener, FilterChain       string
	Route, Cluster              string
	ResponseCode                int
	Details, TerminationDetails string
	Attempts                    int
	Verdict                     string // told to the application; empty while pending
	Cause                       string
	Steps                       []Step
}

// publication is a snapshot that is written anew in place: a flow has several
// while it is set up, and none of the former is worth its memory.
type publication struct {
	mu   sync.Mutex
	snap *Snapshot // nil before the first
}

func (p *publication) write(s *Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snap == nil {
		p.snap = new(Snapshot)
	}
	*p.snap = *s
}

func (p *publication) read() (s Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snap != nil {
		s = *p.snap
	}
	return s
}

func (p *publication) kind() Kind {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snap == nil {
		return 0
	}
	return p.snap.Kind
}

// Publish makes the current values visible to Snapshot. Only the goroutine
// that owns s calls it.
func (s *StreamInfo) Publish() {
	snap := Snapshot{
		ID: s.ID, ConnectionID: s.ConnectionID, Kind: s.Kind, AcceptedEarly: s.AcceptedEarly, Start: s.Start,
		RemoteAddress: s.RemoteAddress, LocalAddress: s.LocalAddress,
		Listener: s.Listener, FilterChain: s.FilterChain, Route: s.Route, Cluster: s.Cluster,
		Flags: s.Flags, ResponseCode: s.ResponseCode,
		Details: s.Details, TerminationDetails: s.TerminationDetails, Attempts: s.Attempts,
		Steps: s.steps[:len(s.steps):len(s.steps)], // what is there stays as it is
	}
	if s.Parent != nil {
		snap.ParentID = s.Parent.ID
	}
	if d, ok := s.FilterState.Get(StateDestination).(string); ok {
		snap.Destination = d
	}
	for _, step := range s.steps {
		switch step.Name {
		case StepAccepted:
			snap.Verdict = "accepted"
		case StepRejected:
			snap.Verdict = VerdictFor(s.Cause).String()
		}
	}
	if s.Cause != nil {
		snap.Cause = s.Cause.Error()
	}
	s.published.write(&snap)
}

// Snapshot is a copy of what was published last; empty before the first.
func (s *StreamInfo) Snapshot() *Snapshot {
	snap := s.published.read()
	return &snap
}
