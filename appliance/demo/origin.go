package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	downloadSize = 64 << 20 // bytes
	pauseAt      = downloadSize / 2
	originIdle   = 10 * time.Second
)

// originServer is the far end: an HTTP server with one file. Half-way through
// its first download it waits for resume, so that the flow can be looked at
// while it is open.
type originServer struct {
	data   []byte
	digest string
	paused chan struct{} // closed when the first download is half-way
	resume chan struct{} // closed to let it go on
	once   sync.Once
	srv    *http.Server
	wg     sync.WaitGroup
}

// newOrigin makes the file. With corrupt it serves one byte that its digest
// does not know of.
func newOrigin(corrupt bool) *originServer {
	o := &originServer{paused: make(chan struct{}), resume: make(chan struct{})}
	o.data = make([]byte, downloadSize)
	_, _ = rand.NewChaCha8([32]byte{'c', 'u', 'l', 'v', 'e', 'r', 't'}).Read(o.data) // never fails
	sum := sha256.Sum256(o.data)
	o.digest = hex.EncodeToString(sum[:])
	if corrupt {
		o.data[downloadSize-1] ^= 1
	}
	o.srv = &http.Server{Handler: o, ReadHeaderTimeout: originIdle}
	return o
}

// listen serves on ln until close.
func (o *originServer) listen(ln net.Listener) {
	o.wg.Go(func() { _ = o.srv.Serve(ln) }) // ends with close
}

func (o *originServer) close() error {
	o.once.Do(func() { close(o.paused) })
	err := o.srv.Close()
	o.wg.Wait()
	return err
}

func (o *originServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/file" {
		_, _ = io.WriteString(w, "hello from the origin, to "+r.RemoteAddr+"\n")
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
	_, err := io.Copy(w, bytes.NewReader(o.data[:pauseAt]))
	if err != nil {
		return // the client is gone
	}
	o.once.Do(func() { close(o.paused) })
	select {
	case <-o.resume:
	case <-r.Context().Done():
		return
	}
	_, _ = io.Copy(w, bytes.NewReader(o.data[pauseAt:]))
}

// hash is where the application's bytes go.
type hash struct {
	bytes  int64
	digest string
}

// digestOf reads everything.
func digestOf(r io.Reader) (hash, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hash{n, hex.EncodeToString(h.Sum(nil))}, err
}

// fetch is the built-in client: a GET from within a namespace.
func fetch(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), url string) (hash, error) {
	c := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return hash{}, err
	}
	res, err := c.Do(req)
	if err != nil {
		return hash{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return hash{}, errors.New(res.Status)
	}
	return digestOf(res.Body)
}
