// Two programs of Kubernetes' control plane in one, so that they are linked once. tests/get-kubernetes builds it.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	root := &cobra.Command{Use: "control-plane", SilenceUsage: true}
	root.AddCommand(apiserver.NewAPIServerCommand(), controllers.NewControllerManagerCommand())
	os.Exit(cli.Run(root))
}
