package subject

import (
	"context"
	"net/netip"
	"time"

	"culvert/appliance/host"
)

// startsWithin is how long a program may take to make its device, or to listen.
const startsWithin = 10 * time.Second

// configureDevice waits for a device that a program makes, and gives it an
// address.
func configureDevice(ctx context.Context, ns *host.Namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	for {
		there, err := ns.HasLink(name)
		if err != nil {
			return err
		}
		if there {
			break
		}
		select {
		case <-ctx.Done():
			return &host.Error{Op: "wait for device", Object: name, Err: ctx.Err()}
		case <-time.After(5 * time.Millisecond):
		}
	}
	_, err := host.Apply(ctx, ns, host.Plan{ // undone by the device's end
		Interface: name, Addresses: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/32")}, NoLinkLocal: true,
	})
	return err
}
