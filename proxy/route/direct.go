package route

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
)

// DirectResponse is an answer without an upstream.
type DirectResponse struct {
	Status int
	Body   string
}

func (c *compiler) directResponse(a *routev3.DirectResponseAction) (*DirectResponse, error) {
	body, err := c.directBody(a.GetBody())
	if err != nil {
		return nil, field.At("body", err)
	}
	if len(body) > c.maxDirectBody {
		return nil, field.Errorf("body", "response body size is %d bytes; maximum is %d", len(body), c.maxDirectBody)
	}
	return &DirectResponse{Status: int(a.GetStatus()), Body: body}, nil
}

func (c *compiler) directBody(s *corev3.DataSource) (string, error) {
	switch s := s.GetSpecifier().(type) {
	case nil:
		return "", nil
	case *corev3.DataSource_InlineString:
		return s.InlineString, nil
	case *corev3.DataSource_InlineBytes:
		return string(s.InlineBytes), nil
	case *corev3.DataSource_Filename:
		b, err := c.deps.ReadFile(s.Filename)
		if err != nil {
			return "", field.Errorf("filename", "%v", err)
		}
		return string(b), nil
	}
	return "", field.Errorf("", "a body is filename, inline_bytes or inline_string")
}
