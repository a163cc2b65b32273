package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

// programSize is the file that the real programs carry, bytes.
func programSize() int64 {
	if program.Race {
		return 8 << 20
	}
	return 100 << 20
}

// Programs that know nothing of culvert work through it.
func TestRealPrograms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startBoth()
	file := peer.Stream{Seed: 8, Size: programSize()}
	path := w.fileOf(t, "file", file)
	if err := os.Mkdir(w.file("www"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, w.file("www/file")); err != nil {
		t.Fatal(err)
	}
	t.Run("curl and python3 -m http.server", func(t *testing.T) {
		t.Parallel()
		curl, python := need.Command(t, "curl"), need.Command(t, "python3")
		for host, port := range map[string]string{origin4: "8000", origin6: "8001"} {
			serveProgram(t, w, net.JoinHostPort(host, port),
				python, "-m", "http.server", "--bind", host, "--directory", w.file("www"), port)
			out := w.file("curl-" + port)
			run(t, w.app.Command(curl, "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "60",
				"--output", out, "http://"+net.JoinHostPort(host, port)+"/file"))
			sameFile(t, out, file)
		}
	})
	t.Run("nc", func(t *testing.T) {
		t.Parallel()
		nc := need.Command(t, "nc")
		for i, c := range []struct{ host, port string }{{origin4, "9000"}, {origin6, "9001"}} {
			srv := peer.Serve(t, w.origin.Listen("tcp", net.JoinHostPort(c.host, c.port)), peer.Exchange(file, file))
			in, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			out := w.file(fmt.Sprintf("nc-%d", i))
			received, err := os.Create(out)
			if err != nil {
				t.Fatal(err)
			}
			cmd := w.app.Command(nc, "-N", c.host, c.port) // -N: half-close at the end of the input
			cmd.Stdin, cmd.Stdout = in, received
			run(t, cmd)
			_, _ = in.Close(), received.Close()
			sameFile(t, out, file)
			if err := srv.Result(t.Context()); err != nil {
				t.Errorf("origin: %v", err)
			}
		}
	})
	t.Run("scp", func(t *testing.T) {
		t.Parallel()
		scp := need.Command(t, "scp")
		options := startSSHD(t, w)
		remote := func(name string) string { return "root@" + origin4 + ":" + w.file(name) }
		run(t, w.app.Command(scp, append(options, path, remote("scp-up"))...))
		sameFile(t, w.file("scp-up"), file)
		run(t, w.app.Command(scp, append(options, remote("file"), w.file("scp-down"))...))
		sameFile(t, w.file("scp-down"), file)
	})
}

// startSSHD starts an SSH server with keys of its own on the origin, and returns
// what scp needs to trust it and to be let in.
func startSSHD(t *testing.T, w *world) (options []string) {
	t.Helper()
	sshd, keygen := need.Command(t, "sshd"), need.Command(t, "ssh-keygen")
	for _, key := range []string{"host-key", "user-key"} {
		run(t, w.origin.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", w.file(key)))
	}
	public, err := os.ReadFile(w.file("host-key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	known := w.write("known_hosts", []byte(origin4+" "+string(public)))
	conf := w.write("sshd_config", []byte(strings.Join([]string{
		"ListenAddress " + origin4, "Port 22", "PidFile none", "UsePAM no", "StrictModes no",
		"HostKey " + w.file("host-key"), "AuthorizedKeysFile " + w.file("user-key.pub"),
		"PermitRootLogin prohibit-password", "PasswordAuthentication no",
		"Subsystem sftp internal-sftp",
	}, "\n")+"\n"))
	serveProgram(t, w, net.JoinHostPort(origin4, "22"), sshd, "-D", "-e", "-f", conf)
	return []string{
		"-q", "-B", "-F", "none", "-i", w.file("user-key"), "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known, "-o", "ConnectTimeout=10",
	}
}

// serveProgram starts a server on the origin and waits until it listens. It need
// not ask a name server what the origin is called, as Python's does.
func serveProgram(t *testing.T, w *world, address string, args ...string) {
	t.Helper()
	program.Server{
		Host: w.origin, Args: args, Listens: []string{address},
		Hosts: origin4 + " origin.test\n" + origin6 + " origin.test\n",
	}.Start(t)
}

// run runs a program, which must succeed.
func run(t *testing.T, cmd *topology.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, log.String())
	}
	t.Logf("%s took %v", cmd.Path, time.Since(start).Round(time.Millisecond))
}

// fileOf writes a stream to a file.
func (w *world) fileOf(t *testing.T, name string, s peer.Stream) string {
	t.Helper()
	f, err := os.Create(w.file(name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, s.Reader()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// sameFile compares SHA-256 digests.
func sameFile(t *testing.T, path string, want peer.Stream) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil || [sha256.Size]byte(h.Sum(nil)) != want.Sum() {
		t.Errorf("%s: %d bytes with SHA-256 %x, want %d with %x (%v)", path, n, h.Sum(nil), want.Size, want.Sum(), err)
	}
}
