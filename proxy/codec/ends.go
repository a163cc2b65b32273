package codec

import (
	"context"
	"errors"
	"os"

	"culvert/proxy/network"
)

// ErrNotProcessed is in the chain of an error that says the peer did nothing
// with the request, so that sending it again on another connection is safe:
// REFUSED_STREAM, a GOAWAY below the stream, no room on the connection.
var ErrNotProcessed = errors.New("request not processed")

// ErrEnded is the cause of a Stream's Context when both directions are over.
var ErrEnded = errors.New("stream ended")

// CodeFor is the code that passes on, to the other half of an exchange, how
// this half failed. It asks the error chain: a typed error (ResetCode() Code)
// first, then whether it was a reset at all.
func CodeFor(err error) Code {
	var typed interface{ ResetCode() Code }
	switch {
	case err == nil:
		return CodeNoError
	case errors.As(err, &typed):
		return typed.ResetCode()
	case network.IsReset(err):
		return CodeConnect
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, os.ErrDeadlineExceeded):
		return CodeCancel
	}
	return CodeInternal
}
