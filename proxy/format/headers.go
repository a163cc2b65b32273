package format

import (
	"fmt"
	"strconv"
	"strings"

	"culvert/proxy/codec"
)

func headerOperators() map[string]definition {
	request := func(get getter) value {
		return func(dst []byte, c *Context) ([]byte, bool) {
			if c.Request == nil {
				return dst, false
			}
			v, ok := get(c)
			return append(dst, v...), ok
		}
	}
	return map[string]definition{
		"REQ":     {rule: mustParam, length: true, build: withAlternative(requestGetter)},
		"RESP":    {rule: mustParam, length: true, build: withAlternative(responseGetter)},
		"TRAILER": {rule: mustParam, length: true, build: withAlternative(trailerGetter)},
		"QUERY_PARAM": {rule: mustParam, length: true, build: func(key string) (operator, string) {
			return operator{value: request(func(c *Context) (string, bool) { return queryParam(c.Request.Path, key) })}, ""
		}},
		"PATH": {rule: mayParam, length: true, build: func(param string) (operator, string) {
			get, problem := pathGetter(param)
			return operator{value: request(get)}, problem
		}},
	}
}

// getter finds a header's value; false if it is not there.
type getter func(c *Context) (string, bool)

// withAlternative builds X?Y: the value of X, of Y where X is missing.
func withAlternative(find func(name string) (getter, string)) func(string) (operator, string) {
	return func(param string) (operator, string) {
		main, alternative, has := strings.Cut(param, "?")
		get, problem := find(main)
		if problem != "" {
			return operator{}, problem
		}
		other := func(*Context) (string, bool) { return "", false }
		if has {
			if other, problem = find(alternative); problem != "" {
				return operator{}, problem
			}
		}
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
			v, ok := get(c)
			if !ok {
				v, ok = other(c)
			}
			return append(dst, v...), ok
		}}, ""
	}
}

func requestGetter(name string) (getter, string) {
	of := func(get func(r *codec.Request) (string, bool)) (getter, string) {
		return func(c *Context) (string, bool) {
			if c.Request == nil {
				return "", false
			}
			return get(c.Request)
		}, ""
	}
	switch strings.ToLower(name) {
	case ":method":
		return of(func(r *codec.Request) (string, bool) { return r.Method, r.Method != "" })
	case ":authority", "host":
		return of(func(r *codec.Request) (string, bool) { return r.Authority, r.Authority != "" })
	case ":scheme":
		return of(func(r *codec.Request) (string, bool) { return r.Scheme, r.Scheme != "" })
	case ":protocol":
		return of(func(r *codec.Request) (string, bool) { return r.Protocol, r.Protocol != "" })
	case ":path":
		return of(func(r *codec.Request) (string, bool) { return r.Path, r.Path != "" || r.HasPath })
	}
	if problem := checkName(name); problem != "" {
		return nil, problem
	}
	return of(func(r *codec.Request) (string, bool) { return first(r.Header, name) })
}

func responseGetter(name string) (getter, string) {
	if strings.EqualFold(name, ":status") {
		return func(c *Context) (string, bool) {
			if c.Response == nil {
				return "", false
			}
			return strconv.Itoa(c.Response.Status), true
		}, ""
	}
	if problem := checkName(name); problem != "" {
		return nil, problem
	}
	return func(c *Context) (string, bool) {
		if c.Response == nil {
			return "", false
		}
		return first(c.Response.Header, name)
	}, ""
}

func trailerGetter(name string) (getter, string) {
	if problem := checkName(name); problem != "" {
		return nil, problem
	}
	return func(c *Context) (string, bool) { return first(c.Trailers, name) }, ""
}

func checkName(name string) string {
	if !codec.ValidName(name) {
		return fmt.Sprintf("%q is not a header name", name)
	}
	return ""
}

// first is the first value of name, as Envoy prints it.
func first(f codec.Fields, name string) (string, bool) {
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			return f[i].Value, true
		}
	}
	return "", false
}

// queryParam is the first value of a query parameter, as it was sent.
func queryParam(path, key string) (string, bool) {
	_, query, _ := strings.Cut(path, "?")
	query, _, _ = strings.Cut(query, "#")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if k, v, _ := strings.Cut(pair, "="); k == key {
			return v, true
		}
	}
	return "", false
}

// pathGetter is PATH(X:Y): X is WQ (with query, the default) or NQ; Y says
// which path: ORIG_OR_PATH (the default), ORIG, PATH.
func pathGetter(param string) (getter, string) {
	query, source, _ := strings.Cut(param, ":")
	if query != "" && query != "WQ" && query != "NQ" {
		return nil, fmt.Sprintf("%q is not WQ or NQ", query)
	}
	if source != "" && source != "ORIG" && source != "PATH" && source != "ORIG_OR_PATH" {
		return nil, fmt.Sprintf("%q is not ORIG, PATH or ORIG_OR_PATH", source)
	}
	return func(c *Context) (path string, ok bool) {
		if source != "PATH" {
			path, ok = first(c.Request.Header, "x-envoy-original-path")
		}
		if !ok && source != "ORIG" {
			path, ok = c.Request.Path, c.Request.Path != "" || c.Request.HasPath
		}
		if query == "NQ" {
			path, _, _ = strings.Cut(path, "?")
		}
		return path, ok
	}, ""
}
