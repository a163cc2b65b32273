package network

import "slices"

// Sharing says how far a filter state object goes when its flow enters an
// internal listener through an internal_upstream transport.
type Sharing uint8

// The ways filter state is shared with upstream, as Envoy's
// shared_with_upstream.
const (
	SharedNone       Sharing = iota // it stays
	SharedOnce                      // into the next internal connection
	SharedTransitive                // into each further one too
)

// ShareFilterState stores an object under its name, to be shared.
func (s *StreamInfo) ShareFilterState(name string, value any, how Sharing) {
	s.SetFilterState(name, value)
	if how == SharedNone {
		delete(s.sharing, name)
		return
	}
	if s.sharing == nil {
		s.sharing = make(map[string]Sharing)
	}
	s.sharing[name] = how
}

// LookupFilterState finds an object of the flow, or of the connection that the
// exchange s came on. It does not look into the flow outside an internal
// listener.
func (s *StreamInfo) LookupFilterState(name string) (any, bool) {
	for i := s; i != nil; i = i.sameConnection() {
		if v, ok := i.FilterState.Lookup(name); ok {
			return v, true
		}
	}
	return nil, false
}

// Connection is the info of the connection that the exchange s came on; s
// itself where it is one.
func (s *StreamInfo) Connection() *StreamInfo {
	for {
		outer := s.sameConnection()
		if outer == nil {
			return s
		}
		s = outer
	}
}

// sameConnection is the info of the connection that an exchange came on.
func (s *StreamInfo) sameConnection() *StreamInfo {
	if s.Parent == nil || s.Parent.ConnectionID != s.ConnectionID {
		return nil
	}
	return s.Parent
}

// SharedFilterState lists the names of what is shared, sorted, the connection's
// among them.
func (s *StreamInfo) SharedFilterState() []string {
	var names []string
	for i := s; i != nil; i = i.sameConnection() {
		for name := range i.sharing {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// PassFilterState gives inner, the info of a flow inside an internal listener,
// what s shares. What inner has of its own stays.
func (s *StreamInfo) PassFilterState(inner *StreamInfo) {
	for i := s; i != nil; i = i.sameConnection() {
		for name, how := range i.sharing {
			if _, ok := inner.FilterState.Lookup(name); ok {
				continue
			}
			next := SharedNone
			if how == SharedTransitive {
				next = SharedTransitive
			}
			inner.ShareFilterState(name, i.FilterState.Get(name), next)
		}
	}
}
