package neighbours

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

// Addresses of a street. All that is not the app or the origin lives at
// streetAddress, on ports of its own.
const (
	appAddress       = "10.1.0.1"
	streetAddress    = "10.1.0.2"
	originAddress    = "10.2.0.2"
	entryPort        = "10000"
	exitPort         = "10001"
	neighbourPort    = "3128"
	originPort       = "80"
	neighbourAddress = streetAddress + ":" + neighbourPort
	entryAddress     = streetAddress + ":" + entryPort
	exitAddress      = streetAddress + ":" + exitPort
	destination      = originAddress + ":" + originPort
)

// street is the hosts of one test, and its scratch directory.
type street struct {
	t                   *testing.T
	top                 *topology.Topology
	app, street, origin *topology.Host
	dir                 string
	ca                  *peer.CA
	port                *net.TCPListener // of the origin, for conversations; nil before the first
}

func newStreet(t *testing.T) *street {
	t.Helper()
	need.Root(t)
	top := topology.New(t)
	s := &street{
		t: t, top: top, dir: t.TempDir(), ca: peer.NewCA(t),
		app: top.Host("app"), street: top.Host("street"), origin: top.Host("origin"),
	}
	// Neighbours that stop being root read and write in it.
	if err := errors.Join(os.Chmod(s.dir, 0o755), os.Chmod(filepath.Dir(s.dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	top.Link(s.app, s.street, appAddress+"/24", streetAddress+"/24")
	top.Link(s.street, s.origin, "10.2.0.1/24", originAddress+"/24")
	s.write("ca.pem", s.ca.PEM)
	for _, name := range []string{"exit", "neighbour", "client"} {
		cert, key := s.ca.IssuePEM(name+".test", streetAddress)
		s.write(name+".pem", cert)
		s.write(name+".key", key)
		s.write(name+".both", append(cert, key...))
	}
	return s
}

// file is a path in the scratch directory.
func (s *street) file(name string) string { return filepath.Join(s.dir, name) }

func (s *street) write(name string, content []byte) string {
	s.t.Helper()
	path := s.file(name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// read is what a file holds so far; nothing if it is not there yet.
func (s *street) read(name string) string {
	text, _ := os.ReadFile(s.file(name))
	return string(text)
}

// start starts a culvert on the street.
func (s *street) start(name, config string) *program.Culvert {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("access log of %s:\n%s", name, s.read(name+".log"))
		}
	})
	return program.StartCulvert(s.t, program.Spec{Host: s.street, Binary: binary, Dir: s.dir, Name: name, Config: config})
}

// neighbour starts a program of the system on the street, with a configuration in
// which DIR is the scratch directory, and waits until it listens. The arguments
// name the configuration as CONFIG.
func (s *street) neighbour(config string, logs []string, args ...string) {
	s.t.Helper()
	name := filepath.Base(args[0])
	path := s.write(name+".conf", []byte(strings.ReplaceAll(config, "DIR", s.dir)))
	for i, a := range args {
		args[i] = strings.ReplaceAll(strings.ReplaceAll(a, "CONFIG", path), "DIR", s.dir)
	}
	var paths []string
	for _, l := range logs {
		path := s.write(l, nil)
		if err := os.Chmod(path, 0o666); err != nil { // it may have become another user
			s.t.Fatal(err)
		}
		paths = append(paths, path)
	}
	program.Server{Host: s.street, Args: args, Logs: paths, Listens: []string{neighbourAddress}}.Start(s.t)
}

// records waits for n records in the exit's access log, which is written now and
// then, and returns it.
func (s *street) records(n int) []string {
	s.t.Helper()
	const within = time.Minute
	var lines []string
	program.Eventually(s.t, within, fmt.Sprintf("%d records in exit.log", n), func() error {
		if lines = strings.Split(strings.TrimSpace(s.read("exit.log")), "\n"); len(lines) < n || lines[0] == "" {
			return fmt.Errorf("%q", lines)
		}
		return nil
	})
	return lines
}

// listen opens a port on the origin.
func (s *street) listen(port string) net.Listener {
	s.t.Helper()
	return s.origin.Listen("tcp", net.JoinHostPort(originAddress, port))
}
