package format

import (
	"encoding/json"
	"strings"
	"testing"

	"culvert/configs/field"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

func structOf(t *testing.T, s string) *structpb.Struct {
	t.Helper()
	out := new(structpb.Struct)
	if err := protojson.Unmarshal([]byte(s), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJSON(t *testing.T) {
	const format = `{"code": "%RESPONSE_CODE%", "both": "%PROTOCOL% %BYTES_SENT%", "text": "%PROTOCOL%", "none": "%REQ(none)%",
		"mixed": "x%REQ(none)%", "deep": {"list": ["%CONNECTION_ID%", "%REQ(none)%", 1.5, true, null]},
		"meta": "%DYNAMIC_METADATA(ns:deep)%", "state": "%FILTER_STATE(s)%", "empty": {}}`
	for _, c := range []struct {
		omit bool
		want string
	}{
		{false, `{"both":"HTTP/2 20","code":503,"deep":{"list":[7,null,1.5,true,null]},"empty":{},"meta":{"list":["a",1],"n":4},"mixed":"x-","none":null,"state":"plain","text":"HTTP/2"}`},
		{true, `{"both":"HTTP/2 20","code":503,"deep":{"list":[7,null,1.5,true,null]},"empty":{},"meta":{"list":["a",1],"n":4},"mixed":"x","state":"plain","text":"HTTP/2"}`},
	} {
		j, err := CompileJSON(structOf(t, format), Options{OmitEmpty: c.omit})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(j.Append(nil, exchange())); got != c.want {
			t.Errorf("omit %v:\n got %s\nwant %s", c.omit, got, c.want)
		}
	}
}

// Keys that are left out at the front, in the middle and at the end leave no
// comma behind.
func TestJSONOmitLeavesNoCommas(t *testing.T) {
	for _, s := range []string{
		`{"a": "%REQ(n)%", "b": "1", "c": "%REQ(n)%", "d": "2", "e": "%REQ(n)%"}`,
		`{"a": "%REQ(n)%", "b": "%REQ(n)%"}`,
	} {
		j, err := CompileJSON(structOf(t, s), Options{OmitEmpty: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := j.Append(nil, exchange()); !json.Valid(got) || strings.Contains(string(got), "null") {
			t.Errorf("%s: %s", s, got)
		}
	}
}

func TestJSONErrorsNameTheirPlace(t *testing.T) {
	_, err := CompileJSON(structOf(t, `{"a": {"b": ["x", "%NOPE%"]}, "c": "%"}`), Options{})
	paths := map[string]bool{}
	for _, e := range field.All(err) {
		paths[e.Path] = true
	}
	if !paths["a.b[1]"] || !paths["c"] || len(paths) != 2 {
		t.Errorf("%v", err)
	}
}

func TestSubstitution(t *testing.T) {
	t.Setenv("FORMAT_TEST", "from env %PROTOCOL%")
	for _, c := range []struct {
		yaml, body, line, contentType string
	}{
		{`{"text_format": "t %REQ(q)%\n"}`, "t \"\n\n", `t \"\n` + "\n", "text/plain"},
		{`{"text_format_source": {"inline_string": "%REQ(none)%|"}, "omit_empty_values": true}`, "|", "|", "text/plain"},
		{`{"text_format_source": {"environment_variable": "FORMAT_TEST"}, "content_type": "a/b"}`, "from env HTTP/2", "from env HTTP/2", "a/b"},
		{`{"json_format": {"q": "%REQ(q)%"}}`, `{"q":"\"\n"}` + "\n", `{"q":"\"\n"}` + "\n", "application/json"},
	} {
		m := new(corev3.SubstitutionFormatString)
		if err := protojson.Unmarshal([]byte(c.yaml), m); err != nil {
			t.Fatal(err)
		}
		s, err := NewSubstitution(m)
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		x := exchange()
		x.Request.Header.Set("q", "\"\n")
		body, line := string(s.Append(nil, x)), string(s.AppendLine(nil, x))
		if body != c.body || line != c.line || s.ContentType() != c.contentType {
			t.Errorf("%s: %q, %q, %s", c.yaml, body, line, s.ContentType())
		}
	}
}

func TestSubstitutionErrors(t *testing.T) {
	for yaml, want := range map[string]string{
		`{}`:                     "names no format",
		`{"text_format": "%X%"}`: `text_format: format "%X%": operator %X% at offset 0: unknown operator`,
		`{"text_format_source": {"filename": "/nonexistent/f"}}`: "text_format_source.filename: ",
		`{"json_format": {"a": "%X%"}}`:                          "json_format.a: ",
	} {
		m := new(corev3.SubstitutionFormatString)
		if err := protojson.Unmarshal([]byte(yaml), m); err != nil {
			t.Fatal(err)
		}
		if _, err := NewSubstitution(m); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}
