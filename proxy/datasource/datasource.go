// Package datasource reads Envoy's DataSource: a file, text or bytes in the
// configuration, or an environment variable.
package datasource

import (
	"fmt"
	"os"

	"culvert/configs/field"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// maxSize bounds a file, bytes: certificates and bodies are far smaller, and a
// mistaken path must not fill the memory.
const maxSize = 16 << 20

// Read returns the content, and what to call its place in an error: the file's
// name, or how it was given. The content itself, which may be secret, is in no
// error. Errors are relative to the DataSource.
func Read(d *corev3.DataSource) (content []byte, place string, err error) {
	switch s := d.GetSpecifier().(type) {
	case *corev3.DataSource_Filename:
		b, err := readFile(s.Filename)
		return b, s.Filename, field.At("filename", err)
	case *corev3.DataSource_InlineBytes:
		return s.InlineBytes, "inline_bytes", nil
	case *corev3.DataSource_InlineString:
		return []byte(s.InlineString), "inline_string", nil
	case *corev3.DataSource_EnvironmentVariable:
		v, ok := os.LookupEnv(s.EnvironmentVariable)
		if !ok {
			return nil, "", field.Errorf("environment_variable", "%s is not set", s.EnvironmentVariable)
		}
		return []byte(v), "environment variable " + s.EnvironmentVariable, nil
	}
	return nil, "", field.Errorf("", "names no source of data")
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, info.Size(), maxSize)
	}
	return os.ReadFile(name)
}

// Honoured declares the fields Read reads.
func Honoured() field.Honoured {
	return field.Honoured{
		"envoy.config.core.v3.DataSource": "filename inline_bytes inline_string environment_variable",
	}
}
