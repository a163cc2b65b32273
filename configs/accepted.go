package configs

import "culvert/configs/field"

// NoOps are the fields that may be set although nothing reads them, and
// why. Everything else that no constructor reads is an error. The list is kept
// short: a field belongs here only if a configuration that sets it does the
// same without it, in culvert as in Envoy. What is below such a field is
// accepted with it.
func NoOps() field.Honoured {
	return field.Honoured{
		// Who this process is. Only a control plane asks, and that is xDS.
		"envoy.config.bootstrap.v3.Bootstrap": "node",
		// Where Envoy's CPU profiler writes; it runs on request only, and ours
		// answers over HTTP.
		"envoy.config.bootstrap.v3.Admin": "profile_path",
	}
}
