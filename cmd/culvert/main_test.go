package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"culvert/test/leak"
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "culvert-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	before := leak.Open()
	code := m.Run()
	if err := leak.Check(before); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "leak:", err)
		return 1
	}
	return code
}

const minimal = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: nowhere
  clusters:
  - name: nowhere
    load_assignment: {cluster_name: nowhere}
`

// writeConfig writes a configuration file.
func writeConfig(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is said where, and the exit code.
func TestRun(t *testing.T) {
	good := writeConfig(t, "good.yaml", minimal)
	bad := writeConfig(t, "bad.yaml", "static_resources:\n  clusters:\n  - nam: a\n  - name: b\n    typ: STATIC\n")
	worse := writeConfig(t, "worse.yaml", "static_resources: {clusters: [{nam: a}]}")
	deprecated := writeConfig(t, "deprecated.yaml", strings.Replace(minimal, "cluster: nowhere\n", "cluster: nowhere\n          access_log_flush_interval: 1s\n", 1))
	ok := func(path string) string { return fmt.Sprintf("configuration '%s' OK\n", path) }
	badLines := []string{
		"error: " + bad + `:3: static_resources.clusters[0].nam: `, "did you mean name?",
		"error: " + bad + `:5: static_resources.clusters[1].typ: `, "did you mean type?",
		"culvert: the configuration cannot be used: 2 errors\n",
	}
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr []string // each is in it; none: it is empty
	}{
		{"version flag", []string{"--version"}, 0, versionLine() + "\n", nil},
		{"version", []string{"version"}, 0, versionLine() + "\n", nil},
		{"no configuration", nil, 2, "", []string{"culvert: a configuration is needed: -c FILE or --config-yaml YAML\n", "see culvert --help\n"}},
		{"validate without configuration", []string{"validate"}, 2, "", []string{"a configuration is needed"}},
		{"unknown flag", []string{"--nonsense"}, 2, "", []string{"unknown flag: --nonsense"}},
		{"unknown flag of a command", []string{"validate", "--nonsense"}, 2, "", []string{"unknown flag: --nonsense"}},
		{"unknown command", []string{"nonsense"}, 2, "", []string{`unknown command or argument "nonsense" for "culvert"`}},
		{"argument too many", []string{"validate", "-c", good, "more"}, 2, "", []string{`"more" for "culvert validate"`}},
		{"flag without value", []string{"-c"}, 2, "", []string{"flag needs an argument"}},
		{"unknown mode", []string{"-c", good, "--mode", "init_only"}, 2, "", []string{`--mode "init_only": want serve or validate`}},
		{"unknown level", []string{"-c", good, "-l", "loud"}, 2, "", []string{`--log-level "loud": want trace, debug, info, warning, error, critical or off`}},
		{"unknown level of validate", []string{"-c", good, "--mode", "validate", "-l", "loud"}, 2, "", []string{`--log-level "loud": want trace`}},
		{"one error", []string{"validate", "-c", worse}, 1, "", []string{"culvert: the configuration cannot be used: 1 error\n"}},
		{"negative concurrency", []string{"-c", good, "--concurrency", "-1"}, 2, "", []string{"--concurrency"}},
		{"negative drain time", []string{"-c", good, "--drain-time-s=-1"}, 2, "", []string{"--drain-time-s"}},
		{"base id that is none", []string{"-c", good, "--base-id", "x"}, 2, "", []string{"--base-id"}},
		{"unknown break", []string{"demo", "--break", "everything"}, 2, "", []string{`break "everything": want gateway, sha or refuse`}},
		{"validate", []string{"validate", "-c", good}, 0, ok(good), nil},
		{"mode validate", []string{"-c", good, "--mode", "validate"}, 0, ok(good), nil},
		{"mode validate with what Envoy's command lines have", []string{"--config-path", good, "--mode=validate", "--base-id", "3",
			"--concurrency", "2", "--log-level", "trace", "--drain-time-s", "1"}, 0, ok(good), nil},
		{"validate warns", []string{"validate", "-c", deprecated}, 0, ok(deprecated), []string{"warning: " + deprecated + ":13: ", "deprecated option"}},
		{"validate bad", []string{"validate", "-c", bad}, 1, "", badLines},
		{"mode validate bad", []string{"-c", bad, "--mode", "validate"}, 1, "", badLines},
		{"serve bad", []string{"-c", bad}, 1, "", []string{"culvert: the configuration cannot be used:\n  " + bad + ":3: ", "\n  " + bad + ":5: "}},
		{"no such file", []string{"validate", "-c", "/no/such/file.yaml"}, 1, "", []string{"/no/such/file.yaml", "no such file"}},
		{"serve no such file", []string{"-c", "/no/such/file.yaml"}, 1, "", []string{"/no/such/file.yaml", "no such file"}},
		{"yaml alone", []string{"validate", "--config-yaml", minimal}, 0, ok(""), nil},
		{"yaml merged over the file", []string{"validate", "-c", good, "--config-yaml", "static_resources: {clusters: [{name: nowhere}]}"}, 1, "",
			[]string{"error: --config-yaml:1: static_resources.clusters[1].name: cluster manager: duplicate cluster 'nowhere'"}},
		{"help", []string{"--help"}, 0, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, &stdout, &stderr); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if tt.name == "help" {
				tt.stdout = stdout.String()
				for _, want := range []string{"--config-path", "validate", "demo", "--drain-time-s"} {
					if !strings.Contains(tt.stdout, want) {
						t.Errorf("the help does not say %s", want)
					}
				}
			}
			if stdout.String() != tt.stdout {
				t.Errorf("stdout %q, want %q", stdout.String(), tt.stdout)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr %q, want %q in it", stderr.String(), want)
				}
			}
			if len(tt.stderr) == 0 && stderr.Len() > 0 {
				t.Errorf("stderr %q, want none", stderr.String())
			}
		})
	}
}

func TestLogLevels(t *testing.T) {
	for level, want := range map[string]string{
		"trace": "debug info warn error", "debug": "debug info warn error", "info": "info warn error", "": "info warn error",
		"INFO": "info warn error", "warn": "warn error", "warning": "warn error",
		"error": "error", "critical": "error", "off": "",
	} {
		var out bytes.Buffer
		log, _, err := newLogger(&out, level)
		if err != nil {
			t.Errorf("%q: %v", level, err)
			continue
		}
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		log.Error("error")
		var got []string
		for line := range strings.Lines(out.String()) {
			_, msg, _ := strings.Cut(strings.TrimSpace(line), "msg=")
			got = append(got, msg)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q logs %q, want %q", level, got, want)
		}
	}
}

func TestVersionString(t *testing.T) {
	if got := versionString(); got == "" {
		t.Error("no version at all")
	}
	if got := versionLine(); !strings.HasPrefix(got, "culvert ") {
		t.Errorf("version line %q", got)
	}
}

// --concurrency is GOMAXPROCS: here with a configuration that cannot be served.
func TestConcurrency(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	var out bytes.Buffer
	if code := run([]string{"-c", "/no/such/file.yaml", "--concurrency", fmt.Sprint(before + 1)}, &out, &out); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if got := runtime.GOMAXPROCS(0); got != before+1 {
		t.Errorf("GOMAXPROCS is %d, want %d", got, before+1)
	}
}
