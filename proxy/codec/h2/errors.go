package h2

import (
	"errors"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// Errors of OpenStream that say: use another connection. Each has
// codec.ErrNotProcessed in its chain.
var (
	// ErrNoCapacity: the peer's limit of concurrent streams is reached.
	ErrNoCapacity error = notProcessed("no room for another stream")
	// ErrDraining: the connection takes no new streams; its old ones finish.
	ErrDraining error = notProcessed("connection is draining")
	// ErrConnClosed: the connection was over before the request was sent.
	ErrConnClosed error = notProcessed("connection is closed")
)

// errUnheard is in the chain of what ended a stream, too.
const errUnheard = notProcessed("nothing came from the peer since the request")

// ErrNoExtendedConnect means that the peer has not offered RFC 8441.
var ErrNoExtendedConnect = errors.New("peer does not support extended CONNECT")

// notProcessed is an error after which sending again elsewhere is safe.
type notProcessed string

func (e notProcessed) Error() string { return string(e) }
func (e notProcessed) Unwrap() error { return codec.ErrNotProcessed }

// Errors of using a stream in the wrong order.
var (
	errWriteAfterEnd  = errors.New("write after the direction was ended")
	errNoResponseHead = errors.New("write before the response head")
	errHeadSent       = errors.New("final response head is already sent")
	errHeadRead       = errors.New("final response head was already read")
	errStreamClosed   = errors.New("stream is closed")
	errHandlerDone    = errors.New("handler returned with the stream open")
	errFlushTimeout   = errors.New("peer left its flow-control window closed")
)

// ConnError is why a whole connection ended, when that was an error of the
// protocol or a limit. Reason is our own text, never the peer's bytes.
type ConnError struct {
	Code   http2.ErrCode
	Reason string
	// Remote: the peer said so in a GOAWAY.
	Remote bool
}

func (e *ConnError) Error() string {
	who := "HTTP/2 connection error"
	if e.Remote {
		who = "HTTP/2 connection ended by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("%s: %v", who, e.Code)
	}
	return fmt.Sprintf("%s: %v: %s", who, e.Code, e.Reason)
}

// ResetCode is the neutral code that tells a stream's other half.
func (e *ConnError) ResetCode() codec.Code { return codec.CodeConnect }

func connError(code http2.ErrCode, reason string) error {
	return &ConnError{Code: code, Reason: reason}
}

// StreamError is why one stream was reset. Reason is our own text, empty when
// the peer gave only a code.
type StreamError struct {
	StreamID uint32
	Code     http2.ErrCode
	Reason   string
}

func (e *StreamError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("HTTP/2 stream %d: %v", e.StreamID, e.Code)
	}
	return fmt.Sprintf("HTTP/2 stream %d: %v: %s", e.StreamID, e.Code, e.Reason)
}

// ResetCode is the neutral code for the stream's other half.
func (e *StreamError) ResetCode() codec.Code { return neutralCode(e.Code) }

// Unwrap makes a refused stream say that it was not processed.
func (e *StreamError) Unwrap() error {
	if e.Code == http2.ErrCodeRefusedStream {
		return codec.ErrNotProcessed
	}
	return nil
}

func streamError(id uint32, code http2.ErrCode, reason string) error {
	return &StreamError{StreamID: id, Code: code, Reason: reason}
}

// resetBy wraps err as a reset, by the peer or by us.
func resetBy(remote bool, code http2.ErrCode, err error) error {
	return &network.ResetError{Remote: remote, Code: uint64(code), Err: err}
}

// wireCode is the HTTP/2 number of a neutral code.
func wireCode(c codec.Code) http2.ErrCode {
	switch c {
	case codec.CodeNoError:
		return http2.ErrCodeNo
	case codec.CodeProtocol:
		return http2.ErrCodeProtocol
	case codec.CodeRefused:
		return http2.ErrCodeRefusedStream
	case codec.CodeCancel:
		return http2.ErrCodeCancel
	case codec.CodeConnect:
		return http2.ErrCodeConnect
	case codec.CodeExcessiveLoad:
		return http2.ErrCodeEnhanceYourCalm
	}
	return http2.ErrCodeInternal
}

// neutralCode is the neutral code nearest to an HTTP/2 number.
func neutralCode(c http2.ErrCode) codec.Code {
	switch c {
	case http2.ErrCodeNo:
		return codec.CodeNoError
	case http2.ErrCodeRefusedStream:
		return codec.CodeRefused
	case http2.ErrCodeCancel:
		return codec.CodeCancel
	case http2.ErrCodeConnect:
		return codec.CodeConnect
	case http2.ErrCodeEnhanceYourCalm:
		return codec.CodeExcessiveLoad
	case http2.ErrCodeInternal:
		return codec.CodeInternal
	}
	return codec.CodeProtocol
}
