package h1

import (
	"errors"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Errors of OpenStream that say: use another connection. Each has
// codec.ErrNotProcessed in its chain.
var (
	// ErrBusy: an exchange is under way.
	ErrBusy error = notProcessed("connection is in use")
	// ErrDraining: the connection takes no more exchanges.
	ErrDraining error = notProcessed("connection is draining")
	// ErrConnClosed: the connection was over before the request was sent, or is
	// not fit to be used again.
	ErrConnClosed error = notProcessed("connection is closed")
)

// notProcessed is an error after which sending again elsewhere is safe.
type notProcessed string

func (e notProcessed) Error() string { return string(e) }
func (e notProcessed) Unwrap() error { return codec.ErrNotProcessed }

// Errors of using a stream in the wrong order, and of its endings.
var (
	errWriteAfterEnd  = errors.New("write after the direction was ended")
	errNoResponseHead = errors.New("write before the response head")
	errNotAnswered    = errors.New("write before the tunnel was answered") // RFC 9931
	errHeadSent       = errors.New("final response head is already sent")
	errHeadRead       = errors.New("final response head was already read")
	errNoBody         = errors.New("the message has no body")
	errTooLong        = errors.New("body is longer than its content-length")
	errTooShort       = errors.New("body is shorter than its content-length")
	errStreamClosed   = errors.New("stream is closed")
	errHandlerDone    = errors.New("handler returned with the stream open")
	errNotUpgrade     = errors.New("101 to a request that asked for no upgrade")
)

// Errors that a peer causes.
var (
	// ErrTruncated: the connection ended within a message.
	ErrTruncated = errors.New("connection ended within a message")
	// ErrLeft: the client ended its direction before it was answered.
	ErrLeft = errors.New("client left before the answer")
	// ErrUnasked: bytes came that no request asked for (response splitting, or
	// an answer too many).
	ErrUnasked = errors.New("bytes on an idle connection")
	// ErrHeadTimeout: the request's head took too long. It is a *MessageError.
	ErrHeadTimeout error = badStatus(408, "request head timeout", "request_header_timeout")
	// ErrDrainTimeout: the exchange outlived the drain.
	ErrDrainTimeout = errors.New("drain timeout")
)

// MessageError is a message that breaks a rule. The connection is never used
// again after one. Reason is our own text, never the peer's bytes.
type MessageError struct {
	// Status is what a request is answered with.
	Status int
	Reason string
	// Details is Envoy's %RESPONSE_CODE_DETAILS%, empty where it has none.
	Details string
}

func (e *MessageError) Error() string { return "HTTP/1 message: " + e.Reason }

// ResetCode is the neutral code that tells a stream's other half.
func (e *MessageError) ResetCode() codec.Code { return codec.CodeProtocol }

// ConnectReason is what a tunnel that was asked for with the message failed of.
func (e *MessageError) ConnectReason() network.Reason { return network.ReasonGateway }

func bad(reason string) *MessageError { return &MessageError{Status: 400, Reason: reason} }

func badStatus(status int, reason, details string) *MessageError {
	return &MessageError{Status: status, Reason: reason, Details: details}
}

// lost gives the end of a connection within a message its type.
func lost(err error) error {
	return &network.ResetError{Remote: true, Err: err}
}

// readError gives what the connection said its meaning here: a reset has its
// type.
func readError(err error) error {
	var typed *network.ResetError
	if err == nil || errors.As(err, &typed) || !network.IsReset(err) {
		return err
	}
	return lost(err)
}

func writeError(err error) error {
	if err = readError(err); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
