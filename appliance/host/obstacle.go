package host

// Cause says what of this machine stands in the way.
type Cause string

// The causes that are told apart.
const (
	// TUNMissing: there is no /dev/net/tun.
	TUNMissing Cause = "no TUN device node"
	// TUNClosed: the mode of /dev/net/tun does not let this user open it.
	TUNClosed Cause = "TUN device node closed to this user"
	// TUNNoDriver: the node is there, the driver is not.
	TUNNoDriver Cause = "no TUN driver"
	// TUNCgroup: the container's device rules refuse it, whatever its mode.
	TUNCgroup Cause = "TUN refused by the container"
	// TUNNoCapability: the node opens, but making an interface takes
	// CAP_NET_ADMIN in this network namespace.
	TUNNoCapability Cause = "no privilege to make a TUN"
	// TUNBusy: an interface of that name is in use.
	TUNBusy Cause = "TUN name in use"
	// UserNSUnsupported: the kernel is built without user namespaces.
	UserNSUnsupported Cause = "no user namespaces in this kernel"
	// UserNSDisabled: Debian's and others' switch for unprivileged users.
	UserNSDisabled Cause = "user namespaces disabled for ordinary users"
	// UserNSLimit: the number of user namespaces is used up, or set to 0.
	UserNSLimit Cause = "no user namespaces left"
	// UserNSAppArmor: Ubuntu since 23.10 gives programs without a profile user
	// namespaces without capabilities, or none.
	UserNSAppArmor Cause = "user namespaces restricted by AppArmor"
	// UserNSSeccomp: a system call filter refuses, as Docker's default one does.
	UserNSSeccomp Cause = "user namespaces refused by a system call filter"
	// UserNSRefused: refused, and none of the known switches explains it.
	UserNSRefused Cause = "user namespaces refused"
	// NetNSLimit: the number of network namespaces is used up, or set to 0.
	NetNSLimit Cause = "no network namespaces left"
	// NetNSNoCapability: network namespaces take CAP_SYS_ADMIN.
	NetNSNoCapability Cause = "no privilege to make a network namespace"
)

// Obstacle is something of this machine that refuses what was asked, told
// apart from its like, with the fix.
type Obstacle struct {
	Cause Cause
	// Fix is one or two sentences: what to run, set or add.
	Fix string
	// Err is what was refused; it is in the chain.
	Err error
}

func (o *Obstacle) Error() string {
	return string(o.Cause) + ": " + o.Err.Error() + " (" + o.Fix + ")"
}

func (o *Obstacle) Unwrap() error { return o.Err }
