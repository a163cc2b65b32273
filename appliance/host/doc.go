// Package host is what culvert asks of the machine beneath it: network
// namespaces, links, addresses, routes and policy rules, and the start of a
// process in namespaces of its own.
//
// # Namespaces
//
// A [Namespace] is a network namespace held open by a descriptor. Sockets and
// devices belong to the namespace of the thread that made them and stay in it:
// a listener from [Namespace.Listen], or a TUN opened in [Namespace.Do], is
// used from anywhere afterwards. So an application can live in a namespace
// whose only way out is a TUN, while culvert, which serves that TUN, has its
// own sockets outside, where they cannot enter the TUN again.
//
// # Plans
//
// A [Plan] says what an interface shall look like; [Apply] makes it so
// completely, or changes nothing and says what stood in the way. Everything a
// plan adds hangs on its interface and vanishes with it, also when the process
// is killed. The one exception are policy rules, which the kernel keeps: they
// carry culvert's [Protocol] number, and the next Apply with the same priority
// removes those whose interface is gone.
//
// # Refusals
//
// Machines differ in what they let an ordinary user do. [ExplainTUN] and
// [ExplainUserNS] turn a bare "operation not permitted" into an [Obstacle] that
// names the cause and the fix.
//
// [Reexec] starts this program again in user and network namespaces where it
// may do all of the above without being root.
package host
