// Package accesslog writes one record for each flow and each HTTP exchange, as
// Envoy's access loggers do: to a file, standard output or standard error.
package accesslog
