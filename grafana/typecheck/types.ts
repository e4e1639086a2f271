// What a dashboard's file may hold, put together from Grafana's own types.
//
// A file holds plain values where the types name enumerations, so `Plain` turns each enumeration into the values it
// stands for. Options and field settings are those of the panel's own plugin: a misspelt one is an error.

import type {
  Dashboard,
  DashboardLink,
  FieldConfig,
  Panel,
  RowPanel,
  VariableModel,
} from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : { [Key in keyof T]: Plain<T[Key]> };

// The data source of Prometheus is a plugin with types of its own, in a package that is not needed otherwise.
interface Target {
  refId: string;
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  legendFormat: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
  exemplar: boolean;
  editorMode: 'code';
}

type Settled<T> = Omit<T, 'type' | 'options' | 'fieldConfig' | 'targets' | 'links'>;

type PanelOf<Type extends string, Options, Custom> = Plain<Settled<Panel>> & {
  type: Type;
  options: Plain<Options>;
  targets: Target[];
  links?: Plain<DashboardLink>[];
  fieldConfig: {
    defaults: Plain<Omit<FieldConfig, 'custom'>> & { custom?: Plain<Custom> };
    overrides: { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: { id: string; value: unknown }[] }[];
  };
};

type AnyPanel =
  | Plain<RowPanel>
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | PanelOf<'state-timeline', timeline.Options, timeline.FieldConfig>
  | PanelOf<'table', table.Options, table.FieldConfig>;

export type File = Plain<Omit<Dashboard, 'panels' | 'templating'>> & {
  uid: string;
  panels: AnyPanel[];
  templating: { list: Plain<VariableModel>[] };
};
