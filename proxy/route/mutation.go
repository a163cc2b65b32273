package route

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
)

// Mutation changes the fields of a head: what is added and what is removed, at
// one level of the configuration. A nil Mutation changes nothing.
type Mutation struct {
	add    []addedHeader
	remove []string
}

// addedHeader is a HeaderValueOption, compiled.
type addedHeader struct {
	name      string
	value     *format.Format
	action    corev3.HeaderValueOption_HeaderAppendAction
	keepEmpty bool
}

// newMutation compiles two fields named what+"_to_add" and what+"_to_remove".
func newMutation(what string, add []*corev3.HeaderValueOption, remove []string) (*Mutation, error) {
	if len(add)+len(remove) == 0 {
		return nil, nil
	}
	m := &Mutation{}
	var errs []error
	for i, o := range add {
		h, err := newAddedHeader(o)
		errs = append(errs, field.At(field.Index(what+"_to_add", i), err))
		m.add = append(m.add, h)
	}
	for i, name := range remove {
		errs = append(errs, field.At(field.Index(what+"_to_remove", i), checkMutable(name)))
		m.remove = append(m.remove, name)
	}
	return m, field.Join(errs...)
}

func newAddedHeader(o *corev3.HeaderValueOption) (addedHeader, error) {
	h := addedHeader{name: o.GetHeader().GetKey(), action: o.GetAppendAction(), keepEmpty: o.GetKeepEmptyValue()}
	if a := o.GetAppend(); a != nil && !a.GetValue() { // deprecated: append: false
		h.action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	}
	if err := checkMutable(h.name); err != nil {
		return h, field.At("header.key", err)
	}
	text := o.GetHeader().GetValue()
	if text == "" {
		text = string(o.GetHeader().GetRawValue())
	}
	var err error
	h.value, err = format.CompileWith(text, format.Options{OmitEmpty: true})
	return h, field.At("header.value", err)
}

// checkMutable refuses fields that are not the configuration's to change: those
// that route the request, and those that delimit it.
func checkMutable(key string) error {
	name := strings.ToLower(key)
	switch {
	case strings.HasPrefix(name, ":") || name == "host":
		return field.Errorf("", ":-prefixed or host headers may not be modified")
	case !codec.ValidName(name):
		return field.Errorf("", "%q is not a header name", key)
	case codec.ConnectionSpecific(name) || name == "content-length":
		return field.Errorf("", "%s is the connection's to say", name)
	}
	return nil
}

// apply changes h. A value that would not be one on the wire adds nothing.
func (m *Mutation) apply(h *codec.Fields, c *format.Context) {
	if m == nil {
		return
	}
	for _, name := range m.remove {
		h.Del(name)
	}
	for _, a := range m.add {
		value := strings.Trim(a.value.String(c), " \t")
		if (value == "" && !a.keepEmpty) || !codec.ValidValue(value) {
			continue
		}
		has := h.Has(a.name)
		switch a.action {
		case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			h.Add(a.name, value)
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			if !has {
				h.Add(a.name, value)
			}
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			h.Set(a.name, value)
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			if has {
				h.Set(a.name, value)
			}
		}
	}
}

// mutations are those of one level, for requests and responses.
type mutations struct{ request, response *Mutation }

// mutable is a message of any level.
type mutable interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func newMutations(m mutable) (mutations, error) {
	var out mutations
	var errs [2]error
	out.request, errs[0] = newMutation("request_headers", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove())
	out.response, errs[1] = newMutation("response_headers", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove())
	return out, field.Join(errs[:]...)
}

// MutateRequest changes a request on its way to the upstream: as the weighted
// cluster says, then the route, its virtual host, and the table, so that the
// widest has the last word; with most_specific_header_mutations_wins in the
// reverse of this order.
func (d *Decision) MutateRequest(h *codec.Fields, c *format.Context) {
	for i := range d.levels {
		d.levels[i].request.apply(h, c)
	}
}

// MutateResponse is MutateRequest for the response.
func (d *Decision) MutateResponse(h *codec.Fields, c *format.Context) {
	for i := range d.levels {
		d.levels[i].response.apply(h, c)
	}
}
