package report

import (
	"debug/buildinfo"
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

// Peer is a program that is measured beside culvert.
type Peer struct {
	Name, Path string
	// Module is what it is built from; empty: it is installed.
	Module string
	// Package is Debian's, and Flag what asks it for its version, of one that is
	// installed.
	Package, Flag string
}

// version is what a peer is, or nothing where it is not there.
func (p Peer) version() string {
	if p.Module == "" {
		version := said(p.Path, p.Flag)
		if packaged := said("dpkg-query", "-W", "-f", "${Version}", p.Package); version != "" && packaged != "" {
			version += ", Debian's " + p.Package + " " + packaged
		}
		return version
	}
	info, err := buildinfo.ReadFile(p.Path)
	if err != nil {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == p.Module {
			return strings.Join([]string{m.Path, m.Version, info.GoVersion}, " ")
		}
	}
	return info.Path
}

// ThisMachine looks at the machine and at what runs on it; who is not there is
// left out.
func ThisMachine(culvert string, peers []Peer) Machine {
	var m Machine
	add := func(what, value string) {
		if value != "" {
			m.Lines = append(m.Lines, what+": "+value)
		}
	}
	add("processor", fmt.Sprintf("%s, %d used", field("/proc/cpuinfo", "model name"), runtime.NumCPU()))
	add("memory", field("/proc/meminfo", "MemTotal"))
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")               // left out if it is not there
	release, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-") // what a builder adds says nothing to others
	add("Linux", release)
	add("Go", runtime.Version())
	add("culvert", said(culvert, "--version"))
	for _, p := range peers {
		add(p.Name, p.version())
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

// said is the first line that a program prints; nothing if it is not there.
func said(path string, args ...string) string {
	cmd := exec.Command(path, args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}
