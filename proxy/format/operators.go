package format

import (
	"crypto/rand"
	"encoding/hex"
	"maps"
	"os"
	"strconv"
	"strings"

	"culvert/proxy/network"
)

// operators lists every operator culvert has. It is made anew for each compile
// so that nothing of the package can be changed.
func operators() map[string]definition {
	all := map[string]definition{
		"PROTOCOL":                       text(func(c *Context) string { return protocol(c) }),
		"RESPONSE_CODE":                  number(responseCode),
		"RESPONSE_CODE_DETAILS":          {rule: mayParam, build: buildDetails},
		"CONNECTION_TERMINATION_DETAILS": text(func(c *Context) string { return c.Info.TerminationDetails }),
		"RESPONSE_FLAGS":                 text(func(c *Context) string { return flags(c, network.Flag.String) }),
		"RESPONSE_FLAGS_LONG":            text(func(c *Context) string { return flags(c, network.Flag.Long) }),
		"BYTES_RECEIVED":                 number(func(c *Context) (int64, bool) { return int64(c.Info.Meter.BytesReceived()), true }),
		"BYTES_SENT":                     number(func(c *Context) (int64, bool) { return int64(c.Info.Meter.BytesSent()), true }),
		"CONNECTION_ID":                  number(func(c *Context) (int64, bool) { return int64(c.Info.ConnectionID), true }),
		"STREAM_ID":                      number(func(c *Context) (int64, bool) { return int64(c.Info.ID), true }),
		"REQUESTED_SERVER_NAME":          text(func(c *Context) string { return c.Info.ServerName }),
		"ROUTE_NAME":                     text(func(c *Context) string { return c.Info.Route }),
		"FILTER_CHAIN_NAME":              text(func(c *Context) string { return c.Info.FilterChain }),
		"ACCESS_LOG_TYPE":                text(logType),
		"LOCAL_REPLY_BODY":               text(func(c *Context) string { return c.LocalReplyBody }),
		"HOSTNAME":                       {build: buildHostname},
		"ENVIRONMENT":                    {rule: mustParam, length: true, build: buildEnvironment},
		"UNIQUE_ID":                      {build: func(string) (operator, string) { return operator{value: uniqueID}, "" }},
	}
	for _, part := range []map[string]definition{
		headerOperators(), timeOperators(), addressOperators(), upstreamOperators(),
		tlsOperators(), stateOperators(), wireOperators(),
	} {
		maps.Copy(all, part)
	}
	return all
}

// text defines an operator without parameters whose empty value is missing.
func text(get func(c *Context) string) definition {
	return definition{build: func(string) (operator, string) {
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
			s := get(c)
			return append(dst, s...), s != ""
		}}, ""
	}}
}

// number defines an operator without parameters that is a number.
func number(get func(c *Context) (int64, bool)) definition {
	return definition{build: func(string) (operator, string) { return numberOperator(get), "" }}
}

func numberOperator(get func(c *Context) (int64, bool)) operator {
	v := func(dst []byte, c *Context) ([]byte, bool) {
		n, ok := get(c)
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, n, 10), true
	}
	return operator{value: v, json: v}
}

func protocol(c *Context) string {
	if c.Info.Protocol == "" && c.Request != nil {
		return c.Request.Proto.String()
	}
	return c.Info.Protocol
}

// responseCode is 0 where there was no response, as in Envoy.
func responseCode(c *Context) (int64, bool) {
	if c.Info.ResponseCode == 0 && c.Response != nil {
		return int64(c.Response.Status), true
	}
	return int64(c.Info.ResponseCode), true
}

func buildDetails(param string) (operator, string) {
	details := func(c *Context) string { return c.Info.Details }
	switch param {
	case "":
		return oneWord(details).build("")
	case "ALLOW_WHITESPACES":
		return text(details).build("")
	}
	return operator{}, "parameter may only be ALLOW_WHITESPACES"
}

// oneWord defines a text whose white space, which would part the fields of a
// log line, becomes underscores, as Envoy's does.
func oneWord(get func(c *Context) string) definition {
	return definition{build: func(string) (operator, string) {
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
			start := len(dst)
			dst = append(dst, get(c)...)
			for i := start; i < len(dst); i++ {
				switch dst[i] {
				case ' ', '\t', '\n', '\v', '\f', '\r':
					dst[i] = '_'
				}
			}
			return dst, len(dst) > start
		}}, ""
	}}
}

func flags(c *Context, name func(network.Flag) string) string {
	if c.Info.Flags == 0 {
		return ""
	}
	return name(c.Info.Flags)
}

func logType(c *Context) string {
	if c.LogType == "" {
		return "NotSet"
	}
	return c.LogType
}

func buildHostname(string) (operator, string) {
	name, err := os.Hostname()
	return constant(name, err == nil), ""
}

func buildEnvironment(name string) (operator, string) {
	v, ok := os.LookupEnv(name)
	return constant(v, ok), ""
}

func constant(s string, ok bool) operator {
	return operator{constant: true, value: func(dst []byte, _ *Context) ([]byte, bool) {
		if !ok {
			return dst, false
		}
		return append(dst, s...), true
	}}
}

func uniqueID(dst []byte, _ *Context) ([]byte, bool) { return append(dst, NewUUID()...), true }

// NewUUID is a random UUID, version 4 (RFC 9562 §5.4), new at each call.
func NewUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// isEnvoys reports an operator that Envoy has and culvert does not, so that
// the error can tell it from a misspelling.
func isEnvoys(name string) bool {
	switch name {
	case "GRPC_STATUS", "GRPC_STATUS_NUMBER", "REQUEST_HEADERS_BYTES", "RESPONSE_HEADERS_BYTES",
		"RESPONSE_TRAILERS_BYTES", "VIRTUAL_CLUSTER_NAME", "VIRTUAL_HOST_NAME", "CLUSTER_METADATA",
		"UPSTREAM_METADATA", "UPSTREAM_FILTER_STATE", "LISTENER_METADATA", "VIRTUAL_HOST_METADATA",
		"ROUTE_METADATA", "METADATA", "CEL", "TYPED_CEL", "REQ_WITHOUT_QUERY", "QUERY_PARAMS",
		"TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "TRACE_ID", "SPAN_ID", "DOWNSTREAM_HANDSHAKE_DURATION",
		"REQUEST_DURATION", "REQUEST_TX_DURATION", "ROUNDTRIP_DURATION", "UPSTREAM_HOSTS_ATTEMPTED",
		"UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_HOST_NAMES_ATTEMPTED",
		"UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
		"UPSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
		"UPSTREAM_LOCAL_CLOSE_REASON", "DOWNSTREAM_LOCAL_CLOSE_REASON", "CUSTOM_FLAGS":
		return true
	}
	for _, side := range []string{"DOWNSTREAM_", "UPSTREAM_"} {
		if rest, ok := strings.CutPrefix(name, side); ok {
			return strings.HasPrefix(rest, "PEER_") || strings.HasPrefix(rest, "LOCAL_") ||
				strings.HasPrefix(rest, "DECOMPRESSED_") || strings.HasPrefix(rest, "TLS_")
		}
	}
	return false
}
