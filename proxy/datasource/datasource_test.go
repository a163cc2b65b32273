package datasource

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("from file"), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxSize+1); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATASOURCE_TEST", "from env")
	for _, c := range []struct {
		d         *corev3.DataSource
		want, err string
	}{
		{&corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: file}}, "from file", ""},
		{&corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte("bytes")}}, "bytes", ""},
		{&corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "text"}}, "text", ""},
		{&corev3.DataSource{Specifier: &corev3.DataSource_EnvironmentVariable{EnvironmentVariable: "DATASOURCE_TEST"}}, "from env", ""},
		{&corev3.DataSource{Specifier: &corev3.DataSource_EnvironmentVariable{EnvironmentVariable: "DATASOURCE_NONE"}}, "", "environment_variable: DATASOURCE_NONE is not set"},
		{&corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: dir + "/none"}}, "", "filename: stat "},
		{&corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: huge}}, "", "filename: " + huge + " has "},
		{nil, "", "names no source"},
	} {
		got, _, err := Read(c.d)
		if string(got) != c.want {
			t.Errorf("%v: %q", c.d, got)
		}
		if (err != nil) != (c.err != "") || (err != nil && !strings.HasPrefix(err.Error(), c.err)) {
			t.Errorf("%v: error %v, want %s", c.d, err, c.err)
		}
	}
}
