package transport

// Poll is one look at the files, as Run has at each tick.
func (s *Secrets) Poll() { s.poll() }
