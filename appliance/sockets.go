package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"culvert/proxy/network"
)

// sockets are the listening sockets of the process. A new configuration that
// listens where the old one did gets another descriptor of the same kernel
// socket: nothing that waits in its queue is lost, and each generation closes
// its own.
type sockets struct {
	mu   sync.Mutex
	open map[network.Address]*sharedSocket
}

type sharedSocket struct {
	ln    fileListener // descriptor kept to make others from
	users int
}

type fileListener interface {
	net.Listener
	File() (*os.File, error)
}

func newSockets() *sockets {
	return &sockets{open: make(map[network.Address]*sharedSocket)}
}

// listen opens or shares the socket of a. Closing what it returns ends this
// use; the last one closes the kernel's socket. Port 0 is never shared.
func (s *sockets) listen(ctx context.Context, a network.Address) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, ok := s.open[a]
	if !ok {
		ln, err := listenSocket(ctx, a, 0)
		if err != nil {
			return nil, err
		}
		fl, ok := ln.(fileListener)
		if !ok {
			return nil, errors.Join(fmt.Errorf("listen on %v: %s sockets cannot be shared", a, a.Network()), ln.Close())
		}
		if a.Kind == network.AddressIP && a.Port() == 0 {
			return fl, nil
		}
		sh = &sharedSocket{ln: fl}
		s.open[a] = sh
	}
	own, err := duplicate(sh.ln)
	if err != nil {
		if sh.users == 0 {
			delete(s.open, a)
			_ = sh.ln.Close()
		}
		return nil, fmt.Errorf("share the socket of %v: %w", a, err)
	}
	sh.users++
	return &socketUse{Listener: own, release: sync.OnceFunc(func() { s.release(a, sh) })}, nil
}

func (s *sockets) release(a network.Address, sh *sharedSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.users--
	if sh.users == 0 {
		delete(s.open, a)
		_ = sh.ln.Close()
	}
}

func duplicate(ln fileListener) (net.Listener, error) {
	f, err := ln.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f) // of a unix socket: the shared one owns the path
}

// socketUse is one generation's descriptor of a shared socket.
type socketUse struct {
	net.Listener
	release func()
}

func (u *socketUse) Close() error {
	err := u.Listener.Close()
	u.release()
	return err
}
