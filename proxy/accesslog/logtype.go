package accesslog

// Values of %ACCESS_LOG_TYPE%: when a record was written.
const (
	NotSet                                  = "NotSet"
	TcpUpstreamConnected                    = "TcpUpstreamConnected"
	TcpPeriodic                             = "TcpPeriodic"
	TcpConnectionStart                      = "TcpConnectionStart"
	TcpConnectionEnd                        = "TcpConnectionEnd"
	DownstreamStart                         = "DownstreamStart"
	DownstreamPeriodic                      = "DownstreamPeriodic"
	DownstreamEnd                           = "DownstreamEnd"
	UpstreamPoolReady                       = "UpstreamPoolReady"
	UpstreamPeriodic                        = "UpstreamPeriodic"
	UpstreamEnd                             = "UpstreamEnd"
	DownstreamTunnelSuccessfullyEstablished = "DownstreamTunnelSuccessfullyEstablished"
	UdpTunnelUpstreamConnected              = "UdpTunnelUpstreamConnected"
	UdpPeriodic                             = "UdpPeriodic"
	UdpSessionEnd                           = "UdpSessionEnd"
)
