// Checks dashboards against Grafana's own types: nothing unknown, nothing of another type, nothing left out that is
// required. It prints a line for each finding. tests/get-grafana-types builds it, tests/e2e/test_grafana_types.py
// runs it.
//
//	usage: grafana-types FILE...
//
// Exit status: 0 nothing to say, 1 findings, 2 misuse, or a file that cannot be read.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/barchart"
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// The panels that there are. All of Grafana's would take three times as long to build.
func register() {
	known := cog.NewRuntime()
	for _, panel := range []variants.PanelcfgConfig{
		barchart.VariantConfig(), bargauge.VariantConfig(), stat.VariantConfig(),
		statetimeline.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
	} {
		known.RegisterPanelcfgVariant(panel)
	}
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
}

// The types take a panel or a query of an unknown kind without looking at it.
func unknown(panel dashboard.Panel) (found []string) {
	if _, known := cog.ConfigForPanelcfgVariant(panel.Type); !known {
		found = append(found, fmt.Sprintf("a panel of the kind %q cannot be checked", panel.Type))
	}
	for _, target := range panel.Targets {
		if target.DataqueryType() != "prometheus" {
			found = append(found, "a query that is none of Prometheus cannot be checked")
		}
	}
	return found
}

func findings(text []byte) (found []string) {
	// The strict reader leaves out what it has read, so the rest is asked of what the plain one has.
	var strict, board dashboard.Dashboard
	for _, err := range []error{strict.UnmarshalJSONStrict(text), json.Unmarshal(text, &board), board.Validate()} {
		// Where there is nothing to say, that may be an empty list and not nil.
		if err != nil && err.Error() != "" {
			found = append(found, strings.Split(err.Error(), "\n")...)
		}
	}
	panels := 0
	for _, one := range board.Panels {
		if one.Panel != nil {
			panels++
			for _, finding := range unknown(*one.Panel) {
				found = append(found, fmt.Sprintf("%s: %s", *one.Panel.Title, finding))
			}
		}
	}
	if panels == 0 {
		found = append(found, "no panels")
	}
	return found
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: grafana-types FILE...")
		os.Exit(2)
	}
	register()
	status := 0
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		for _, finding := range findings(text) {
			fmt.Printf("%s: %s\n", file, finding)
			status = 1
		}
	}
	os.Exit(status)
}
