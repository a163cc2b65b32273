package examples

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// proof is the commands of one example, in their order.
type proof struct {
	name  string   // of the file, without .yaml
	text  string   // the file
	lines []string // each a line of bash; those that end with " &" run until the end
}

// readProof takes the commands out of a file: the lines after "# prove:", which
// are indented, to the end of that comment.
func readProof(path string) (proof, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return proof{}, err
	}
	p := proof{name: strings.TrimSuffix(filepath.Base(path), ".yaml"), text: string(text)}
	_, after, found := strings.Cut(p.text, "\n# prove:\n")
	if !found {
		return proof{}, fmt.Errorf("%s: no line \"# prove:\"", path)
	}
	for line := range strings.Lines(after) {
		command, ok := strings.CutPrefix(line, "#   ")
		if !ok {
			break
		}
		p.lines = append(p.lines, strings.TrimSpace(command))
	}
	if last := len(p.lines) - 1; last < 1 || background(p.lines[last]) {
		return proof{}, errors.New(path + ": the commands prove nothing")
	}
	return p, nil
}

func background(line string) bool { return strings.HasSuffix(line, " &") }

// capturesPackets reports whether the example opens a device.
func (p proof) capturesPackets() bool { return strings.Contains(p.text, "tcp_listener:") }

// programs is what the commands need besides culvert and a Unix system.
func (p proof) programs() (list []string) {
	commands := strings.Join(p.lines, "\n")
	for _, name := range []string{"curl", "ip", "python3", "squid"} {
		if regexp.MustCompile(`(?m)(^|[ (])` + name + ` `).MatchString(commands) {
			list = append(list, name)
		}
	}
	if strings.Contains(commands, "make_certificates.sh") {
		list = append(list, "openssl")
	}
	return list
}

// exchanges is how often the commands send exchangeBytes and get them back.
func (p proof) exchanges() (n uint64) {
	for _, line := range p.lines {
		if strings.HasPrefix(line, "seq 2300000 | ") && strings.HasSuffix(line, " | cmp - <(seq 2300000)") {
			n++
		}
	}
	return n
}

// script runs the commands. What runs until the end says into its log that it is
// ready before the next line starts; at the end each culvert is asked to end,
// and does, cleanly.
func (p proof) script() string {
	var b strings.Builder
	b.WriteString(prologue)
	for i, line := range p.lines {
		fmt.Fprintf(&b, "echo \"+ $(date +%%T.%%3N)\" %s\n", quote(line))
		if !background(line) {
			b.WriteString(line + " || exit\n") // errexit alone passes over a "!"
			continue
		}
		command := strings.TrimSuffix(line, " &")
		fmt.Fprintf(&b, "%s >log.%d 2>&1 &\nawait $! log.%d\n", command, i, i)
		if strings.HasPrefix(command, "culvert ") {
			b.WriteString("culverts+=($!)\n")
		}
	}
	b.WriteString(traffic + end + epilogue)
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const prologue = `set -e -o pipefail
mount -t tmpfs tmpfs /run  # namespaces get names there
mkdir /run/netns
culverts=()
await() { # pid, log
	until grep -Eq '(^|=)ready( |$)|Accepting HTTP' "$2"; do
		kill -0 "$1" || { echo "ended before it was ready"; exit 1; }
		sleep 0.02
	done
}
`

const (
	traffic = "cat /proc/net/dev >traffic\necho \"+ $(date +%T.%3N) the end\"\n"
	end     = `for pid in "${culverts[@]}"; do kill -TERM "$pid"; done` + "\n"
)

const epilogue = `for pid in "${culverts[@]}"; do wait "$pid" || { echo "culvert ended with $?"; exit 1; }; done
echo "+ $(date +%T.%3N) proven"
`
