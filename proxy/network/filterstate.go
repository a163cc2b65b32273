package network

// FilterState is the named objects of a flow. They are few, most often one or
// three, and each flow has its own: a list is a tenth of a map.
type FilterState []StateObject

// StateObject is one of them: a string prints as itself, others by String().
type StateObject struct {
	Name  string
	Value any
}

// Lookup finds an object by its name.
func (f FilterState) Lookup(name string) (value any, ok bool) {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value, true
		}
	}
	return nil, false
}

// Get is an object by its name, nil where there is none.
func (f FilterState) Get(name string) any {
	v, _ := f.Lookup(name)
	return v
}

// SetFilterState stores an object under its name.
func (s *StreamInfo) SetFilterState(name string, value any) {
	for i := range s.FilterState {
		if s.FilterState[i].Name == name {
			s.FilterState[i].Value = value
			return
		}
	}
	s.FilterState = append(s.FilterState, StateObject{Name: name, Value: value})
}
