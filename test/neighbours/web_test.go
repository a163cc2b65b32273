package neighbours

import (
	"crypto/tls"
	"io"
	"net/http"
	"time"

	"culvert/test/peer"
)

// webPort is where a web stands on the origin.
const webPort = "443"

// web is an HTTPS server on the origin: GET / is a page, GET /down a stream, and
// what is sent to /up must be another.
type web struct {
	page     string
	up, down peer.Stream
	uploaded chan error // one for each upload
}

// start serves the web until the test ends.
func (w *web) start(s *street) {
	s.t.Helper()
	const uploads = 100
	w.uploaded = make(chan error, uploads)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("content-type", "text/html")
		_, _ = io.WriteString(rw, w.page)
	})
	mux.HandleFunc("GET /down", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(rw, w.down.Reader()) })
	mux.HandleFunc("/up", func(rw http.ResponseWriter, r *http.Request) {
		v := w.up.Verify()
		_, err := io.Copy(v, r.Body)
		if err == nil {
			err = v.Complete()
		}
		w.uploaded <- err
		_, _ = io.Copy(rw, w.down.Reader())
	})
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.webCertificate()}},
	}
	ln := s.listen(webPort)
	done := make(chan struct{})
	go func() { // ends with Close
		_ = srv.ServeTLS(ln, "", "")
		close(done)
	}()
	s.t.Cleanup(func() { _ = srv.Close(); <-done })
}

// webCertificate is the same at each call.
func (s *street) webCertificate() tls.Certificate {
	s.t.Helper()
	if s.read("web.pem") == "" {
		cert, key := s.ca.IssuePEM(originAddress)
		s.write("web.pem", cert)
		s.write("web.key", key)
	}
	pair, err := tls.LoadX509KeyPair(s.file("web.pem"), s.file("web.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}
