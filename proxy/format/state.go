package format

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func stateOperators() map[string]definition {
	return map[string]definition{
		"DYNAMIC_METADATA": {rule: mustParam, length: true, build: buildMetadata},
		"FILTER_STATE":     {rule: mustParam, length: true, build: buildFilterState},
	}
}

// buildMetadata is DYNAMIC_METADATA(NAMESPACE:KEY:KEY...).
func buildMetadata(param string) (operator, string) {
	keys := strings.Split(param, ":")
	get := func(c *Context) (any, bool) {
		m, ok := c.Info.Metadata[keys[0]]
		if !ok || len(keys) == 1 {
			return m, ok
		}
		v, ok := m[keys[1]]
		for _, key := range keys[2:] {
			inner, isMap := v.(map[string]any)
			if !isMap {
				return nil, false
			}
			v, ok = inner[key]
		}
		return v, ok
	}
	return anyOperator(get), ""
}

// Fielder is a filter state object with parts of its own, for
// FILTER_STATE(KEY:FIELD:name).
type Fielder interface {
	Field(name string) (value any, ok bool)
}

// buildFilterState is FILTER_STATE(KEY:PLAIN), (KEY:TYPED), the default, which
// is JSON, and (KEY:FIELD:name). A key may hold colons: the last part counts.
func buildFilterState(param string) (operator, string) {
	key, field, hasField := strings.Cut(param, ":FIELD:")
	how := "FIELD"
	if !hasField {
		key, how = param, "TYPED"
		if i := strings.LastIndexByte(param, ':'); i >= 0 {
			key, how = param[:i], param[i+1:]
		}
	}
	get := func(c *Context) (any, bool) {
		v, ok := c.Info.FilterState.Lookup(key)
		return v, ok && v != nil
	}
	switch {
	case key == "":
		return operator{}, "names no filter state"
	case how == "PLAIN":
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) { return appendIf(dst, c, get, appendPlain) }}, ""
	case how == "TYPED":
		v := func(dst []byte, c *Context) ([]byte, bool) { return appendIf(dst, c, get, appendJSONValue) }
		return operator{value: v, json: v}, ""
	case how == "FIELD" && field != "":
		return anyOperator(func(c *Context) (any, bool) {
			v, _ := get(c)
			if f, ok := v.(Fielder); ok {
				return f.Field(field)
			}
			return nil, false
		}), ""
	}
	return operator{}, fmt.Sprintf("%q is not PLAIN, TYPED or FIELD:name", how)
}

// anyOperator prints a value of any type: plain in text, typed in JSON.
func anyOperator(get func(c *Context) (any, bool)) operator {
	return operator{
		value: func(dst []byte, c *Context) ([]byte, bool) { return appendIf(dst, c, get, appendPlain) },
		json:  func(dst []byte, c *Context) ([]byte, bool) { return appendIf(dst, c, get, appendJSONValue) },
	}
}

func appendIf(dst []byte, c *Context, get func(c *Context) (any, bool), print func([]byte, any) ([]byte, bool)) ([]byte, bool) {
	v, ok := get(c)
	if !ok || v == nil {
		return dst, false
	}
	return print(dst, v)
}

// appendPlain appends strings as they are, what prints itself so, and else
// JSON.
func appendPlain(dst []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return append(dst, v...), true
	case []byte:
		return append(dst, v...), true
	case proto.Message:
	case fmt.Stringer:
		return append(dst, v.String()...), true
	}
	return appendJSONValue(dst, v)
}

// appendJSONValue appends v as JSON; false if it cannot be.
func appendJSONValue(dst []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return appendString(dst, v), true
	case bool:
		return strconv.AppendBool(dst, v), true
	case int:
		return strconv.AppendInt(dst, int64(v), 10), true
	case proto.Message:
		b, err := protojson.Marshal(v)
		return append(dst, b...), err == nil
	case json.Marshaler:
	case fmt.Stringer:
		return appendString(dst, v.String()), true
	}
	b, err := json.Marshal(v)
	return append(dst, b...), err == nil
}
