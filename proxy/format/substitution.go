package format

import (
	"errors"

	"culvert/configs/field"
	"culvert/proxy/datasource"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Substitution is a compiled SubstitutionFormatString: text or JSON. It is
// immutable.
type Substitution struct {
	text        *Format
	json        *JSON
	contentType string
}

// NewSubstitution compiles a SubstitutionFormatString. A text_format_source is
// read here, once.
func NewSubstitution(m *corev3.SubstitutionFormatString) (*Substitution, error) {
	o := Options{OmitEmpty: m.GetOmitEmptyValues()}
	s := &Substitution{contentType: m.GetContentType()}
	var err error
	switch f := m.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_TextFormat:
		s.text, err = CompileWith(f.TextFormat, o)
		return s, field.At("text_format", err)
	case *corev3.SubstitutionFormatString_TextFormatSource:
		content, _, err := datasource.Read(f.TextFormatSource)
		if err == nil {
			s.text, err = CompileWith(string(content), o)
		}
		return s, field.At("text_format_source", err)
	case *corev3.SubstitutionFormatString_JsonFormat:
		s.json, err = CompileJSON(f.JsonFormat, o)
		return s, field.At("json_format", err)
	}
	return nil, errors.New("names no format")
}

// TextSubstitution is f as a Substitution.
func TextSubstitution(f *Format) *Substitution { return &Substitution{text: f} }

// JSONSubstitution is j as a Substitution.
func JSONSubstitution(j *JSON) *Substitution { return &Substitution{json: j} }

// Append appends the substitution for a message body: values are as they came.
// JSON ends in a newline.
func (s *Substitution) Append(dst []byte, c *Context) []byte {
	if s.json != nil {
		return append(s.json.Append(dst, c), '\n')
	}
	return s.text.Append(dst, c)
}

// AppendLine appends the substitution for a log: no value can end the line or
// its own quotes. JSON ends in a newline; text ends as its format does.
func (s *Substitution) AppendLine(dst []byte, c *Context) []byte {
	if s.json != nil {
		return append(s.json.Append(dst, c), '\n')
	}
	return s.text.AppendEscaped(dst, c)
}

// ContentType is what the content is: content_type, else text/plain or
// application/json.
func (s *Substitution) ContentType() string {
	switch {
	case s.contentType != "":
		return s.contentType
	case s.json != nil:
		return "application/json"
	}
	return "text/plain"
}

// Honoured declares the fields NewSubstitution reads. sort_properties changes
// nothing: keys are always sorted.
func Honoured() field.Honoured {
	h := field.Honoured{
		"envoy.config.core.v3.SubstitutionFormatString": "text_format text_format_source json_format omit_empty_values content_type json_format_options",
		"envoy.config.core.v3.JsonFormatOptions":        "sort_properties",
	}
	h.Merge(datasource.Honoured())
	return h
}
