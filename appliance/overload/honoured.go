package overload

import "culvert/configs/field"

// Honoured is every field that NewConfig reads.
func Honoured() field.Honoured {
	return field.Honoured{
		"envoy.config.overload.v3.OverloadManager":                         "refresh_interval resource_monitors actions buffer_factory_config",
		"envoy.config.overload.v3.BufferFactoryConfig":                     "minimum_account_to_track_power_of_two",
		"envoy.config.overload.v3.ResourceMonitor":                         "name typed_config",
		"envoy.config.overload.v3.OverloadAction":                          "name triggers",
		"envoy.config.overload.v3.Trigger":                                 "name threshold scaled",
		"envoy.config.overload.v3.ThresholdTrigger":                        "value",
		"envoy.config.overload.v3.ScaledTrigger":                           "scaling_threshold saturation_threshold",
		"envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig": "max_heap_size_bytes",
	}
}
