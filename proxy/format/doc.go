// Package format compiles Envoy's format strings, "%REQ(:AUTHORITY)% %DURATION%",
// into something that is evaluated often: access logs, headers to add, the
// hostname of a tunnel.
//
// Everything that can be wrong with a format string is found when it is
// compiled. A value that is not there prints as "-". Values are what peers
// sent: whoever puts them into a header field checks them with
// codec.ValidValue, whoever puts them into a line of text uses AppendEscaped.
package format
