package report

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine is where it was measured, and with which versions.
type Machine struct {
	Lines []string
}

// ThisMachine looks at the machine and asks the programs for their versions;
// who does not answer is left out.
func ThisMachine(culvert string, peers map[string][]string) Machine {
	var m Machine
	add := func(what, value string) {
		if value != "" {
			m.Lines = append(m.Lines, what+": "+value)
		}
	}
	add("processor", fmt.Sprintf("%s, %d used", field("/proc/cpuinfo", "model name"), runtime.NumCPU()))
	add("memory", field("/proc/meminfo", "MemTotal"))
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // left out if it is not there
	add("Linux", strings.TrimSpace(string(kernel)))
	add("Go", runtime.Version())
	add("culvert", said(culvert, "--version"))
	for _, name := range []string{"tun2socks", "sing-box", "pasta", "slirp4netns", "squid", "haproxy", "nghttpx"} {
		if command := peers[name]; len(command) > 0 {
			add(name, said(command[0], command[1:]...))
		}
	}
	return m
}

// Markdown is a list.
func (m Machine) Markdown() string {
	return "- " + strings.Join(m.Lines, "\n- ") + "\n"
}

// field is a value of a file in /proc.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// said is the first line that a program prints.
func said(path string, args ...string) string {
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}
