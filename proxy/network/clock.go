package network

import "time"

// processStart anchors monotonic times; it is written once, at start.
var processStart = time.Now()

// monotonic is nanoseconds since the process started, never 0.
func monotonic() int64 { return int64(time.Since(processStart)) | 1 }
