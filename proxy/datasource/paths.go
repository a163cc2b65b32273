package datasource

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Paths are what to watch for changes of what m is made of, sorted: the files
// that DataSources in m name, and for those beside a watched_directory that
// directory instead. Packed messages are not looked into.
func Paths(m proto.Message) []string {
	var out []string
	collect(m.ProtoReflect(), &out)
	slices.Sort(out)
	return slices.Compact(out)
}

func collect(m protoreflect.Message, out *[]string) {
	if d, ok := m.Interface().(*corev3.DataSource); ok {
		if name := d.GetFilename(); name != "" {
			*out = append(*out, name)
		}
		return
	}
	if dir, ok := m.Interface().(*corev3.WatchedDirectory); ok {
		*out = append(*out, dir.GetPath())
		return
	}
	watched := hasWatchedDirectory(m)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || fd.IsMap():
		case watched && fd.Message().FullName() == "envoy.config.core.v3.DataSource":
		case fd.IsList():
			for i := range v.List().Len() {
				collect(v.List().Get(i).Message(), out)
			}
		default:
			collect(v.Message(), out)
		}
		return true
	})
}

// hasWatchedDirectory reports that m names the directory whose changes stand
// for those of its files.
func hasWatchedDirectory(m protoreflect.Message) bool {
	fd := m.Descriptor().Fields().ByName("watched_directory")
	return fd != nil && m.Has(fd)
}
