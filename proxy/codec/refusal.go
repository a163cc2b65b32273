package codec

import "errors"

// Refusal is an error that is somebody's no to a CONNECT of ours: whoever asked
// us can be told what we were told.
type Refusal interface {
	error
	// Refusal is the answer's status, which is no 2xx, and its fields. They are
	// the peer's word.
	Refusal() (status int, header Fields)
}

// RefusalOf finds the refusal in the chain of err.
func RefusalOf(err error) (status int, header Fields, ok bool) {
	var r Refusal
	if !errors.As(err, &r) {
		return 0, nil, false
	}
	status, header = r.Refusal()
	return status, header, true
}
