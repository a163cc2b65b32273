package host

// Error is a change to the host that could not be made.
type Error struct {
	// Op and Object say what was tried: "add route", "10.0.0.0/8 dev culvert0".
	Op, Object string
	// Err is the kernel's word.
	Err error
	// Fix says what to do about it; may be empty.
	Fix string
}

func (e *Error) Error() string {
	msg := e.Op + " " + e.Object + ": " + e.Err.Error()
	if e.Fix != "" {
		msg += " (" + e.Fix + ")"
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }
